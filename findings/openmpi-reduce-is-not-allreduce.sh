#!/usr/bin/env bash
# OpenMPI 4.1.4 (Debian 12) and 5.0.7 (Debian 13). Seen on 2026-11-29.
# Expected: MPI_Reduce to rank 0 and MPI_Allreduce of the same floats over the same four ranks give rank 0 the same bits.
# Happens: they add in another order: for 2^24 + 1 + 1 + 1 Allreduce gives 16777218 and Reduce 16777220. With two ranks they agree.
# Matters: a log line reduced to rank 0 does not match the value that all ranks used; a check "reduced gradients equal" between two code paths fails from three ranks on.
#   MPI only recommends that one operation repeats itself.
# Source: ompi/mca/coll/tuned/coll_tuned_decision_fixed.c: another algorithm per operation, size and number of ranks (recursive doubling; binomial tree or pipeline).
. "$(dirname "$0")/common.sh"
for version in bookworm:4.1.4-3+b1 trixie:5.0.7-1; do
  debian_packages ${version%:*} openmpi-bin=${version#*:} libopenmpi-dev=${version#*:} gcc libc6-dev
  observe inside bash -s <<'E'
cd /tmp
cat > p.c <<'C'
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char** argv) {
  int rank, size; MPI_Init(&argc, &argv); MPI_Comm_rank(MPI_COMM_WORLD, &rank); MPI_Comm_size(MPI_COMM_WORLD, &size);
  for (int count = 1; count <= 100000; count *= 100000) {
    float *x = malloc(4 * count), *all = malloc(4 * count), *one = malloc(4 * count);
    for (int i = 0; i < count; i++) x[i] = rank == 0 ? 16777216.f : 1.f;
    MPI_Allreduce(x, all, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Reduce(x, one, count, MPI_FLOAT, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) printf("%d ranks, %d floats: Allreduce %.0f, Reduce %.0f\n", size, count, all[count - 1], one[count - 1]);
  }
  MPI_Finalize();
}
C
mpicc -o p p.c
for n in 2 3 4; do mpirun --oversubscribe -np $n ./p 2> /dev/null < /dev/null | sed "s/^/$(mpirun --version | grep -om 1 '[0-9.]*$'), /"; done
E
done
verdict <<'E'
4.1.4, 2 ranks, 1 floats: Allreduce 16777216, Reduce 16777216
4.1.4, 2 ranks, 100000 floats: Allreduce 16777216, Reduce 16777216
4.1.4, 3 ranks, 1 floats: Allreduce 16777216, Reduce 16777218
4.1.4, 3 ranks, 100000 floats: Allreduce 16777216, Reduce 16777218
4.1.4, 4 ranks, 1 floats: Allreduce 16777218, Reduce 16777220
4.1.4, 4 ranks, 100000 floats: Allreduce 16777218, Reduce 16777220
5.0.7, 2 ranks, 1 floats: Allreduce 16777216, Reduce 16777216
5.0.7, 2 ranks, 100000 floats: Allreduce 16777216, Reduce 16777216
5.0.7, 3 ranks, 1 floats: Allreduce 16777216, Reduce 16777218
5.0.7, 3 ranks, 100000 floats: Allreduce 16777216, Reduce 16777218
5.0.7, 4 ranks, 1 floats: Allreduce 16777218, Reduce 16777220
5.0.7, 4 ranks, 100000 floats: Allreduce 16777218, Reduce 16777220
E
