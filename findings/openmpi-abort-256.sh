#!/usr/bin/env bash
# OpenMPI 4.1.4 (Debian 12) and 5.0.7 (Debian 13), mpirun. Seen on 2026-11-29.
# Expected: MPI_Abort with an error code that is not 0 makes mpirun fail, with that code or with 1 where the code does not fit.
# Happens: the code is cut to eight bits: 256 and 512 end in 0, success, although the message says "with errorcode 256"; 300 becomes 44. MPI_Abort(0) is success, too.
# Matters: codes made of a module's number times 256, or an errno shifted like a wait status, tell the batch system that all is well.
# Source: ompi/mpi/c/abort.c and exit(3): nothing between them keeps a code that is a multiple of 256 from becoming 0.
. "$(dirname "$0")/common.sh"
for version in bookworm:4.1.4-3+b1 trixie:5.0.7-1; do
  debian_packages ${version%:*} openmpi-bin=${version#*:} libopenmpi-dev=${version#*:} gcc libc6-dev
  observe inside bash -s <<'E'
cd /tmp
cat > p.c <<'C'
#include <mpi.h>
#include <stdlib.h>
int main(int argc, char** argv) {
  int rank; MPI_Init(&argc, &argv); MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 1) MPI_Abort(MPI_COMM_WORLD, atoi(argv[1]));
  MPI_Barrier(MPI_COMM_WORLD); MPI_Finalize();
}
C
mpicc -o p p.c
for code in 0 1 85 256 300 512; do
  mpirun --oversubscribe -np 2 ./p $code > log 2>&1 < /dev/null; ended=$?
  echo "$(mpirun --version | grep -om 1 '[0-9.]*$') MPI_Abort($code) ends in $ended"
done
E
done
verdict <<'E'
4.1.4 MPI_Abort(0) ends in 0
4.1.4 MPI_Abort(1) ends in 1
4.1.4 MPI_Abort(85) ends in 85
4.1.4 MPI_Abort(256) ends in 0
4.1.4 MPI_Abort(300) ends in 44
4.1.4 MPI_Abort(512) ends in 0
5.0.7 MPI_Abort(0) ends in 0
5.0.7 MPI_Abort(1) ends in 1
5.0.7 MPI_Abort(85) ends in 85
5.0.7 MPI_Abort(256) ends in 0
5.0.7 MPI_Abort(300) ends in 44
5.0.7 MPI_Abort(512) ends in 0
E
