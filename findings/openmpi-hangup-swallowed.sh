#!/usr/bin/env bash
# OpenMPI 4.1.4 (Debian 12) and 5.0.7 (Debian 13) with UCX 1.18.1, which 5.0.7 loads. Seen on 2026-11-29.
# Expected: HUP ends a program that does not handle it, with 129, MPI or not.
# Happens: once MPI_Init has loaded UCX, HUP is handled by UCX: it raises its log level to TRACE, the rank goes on, and mpirun ends with 0. Under 4.1 the rank ends.
# Matters: ranks survive the end of a terminal, and fill their output; a launcher that ends ranks by HUP waits; a program that means "reload" by HUP loses or takes it.
# Source: UCX, src/ucs/config/global_opts.c, DEBUG_SIGNO: the signal that makes UCS enter debug mode, SIGHUP unless UCX_DEBUG_SIGNO is set; 0, or nothing, disables it.
. "$(dirname "$0")/common.sh"
for version in bookworm:4.1.4-3+b1 trixie:5.0.7-1; do
  debian_packages ${version%:*} openmpi-bin=${version#*:} libopenmpi-dev=${version#*:} gcc libc6-dev
  observe inside bash -s <<'E'
cd /tmp
cat > p.c <<'C'
#include <mpi.h>
#include <signal.h>
int main(int argc, char** argv) {
  int rank; MPI_Init(&argc, &argv); MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 1) raise(SIGHUP);
  MPI_Barrier(MPI_COMM_WORLD); MPI_Finalize();
}
C
mpicc -o p p.c
for setting in "" UCX_DEBUG_SIGNO=; do
  env $setting mpirun --oversubscribe -np 2 ./p > log 2>&1 < /dev/null; ended=$?
  echo "$(mpirun --version | grep -om 1 '[0-9.]*$') $setting a rank that sends itself HUP: mpirun ends with $ended, lines of UCX: $(grep -ac 'UCX  TRACE' log | sed 's/^[1-9].*/many/')" | tr -s ' '
done
E
done
verdict <<'E'
4.1.4 a rank that sends itself HUP: mpirun ends with 129, lines of UCX: 0
4.1.4 UCX_DEBUG_SIGNO= a rank that sends itself HUP: mpirun ends with 129, lines of UCX: 0
5.0.7 a rank that sends itself HUP: mpirun ends with 0, lines of UCX: many
5.0.7 UCX_DEBUG_SIGNO= a rank that sends itself HUP: mpirun ends with 129, lines of UCX: 0
E
