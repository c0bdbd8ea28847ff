#!/usr/bin/env bash
# mpirun for one workstation or one container: more ranks than cores are allowed, root is allowed, and ranks are not tied to cores
# (mpirun ties each to one core by default, and all threads of a rank would then share it). One thread a rank unless OMP_NUM_THREADS is set.
set -euo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Idle ranks yield their core: with more ranks than cores a spinning rank would starve the one it waits for.
export OMPI_MCA_mpi_yield_when_idle=1
# --quiet: a failing rank has said what is wrong; mpirun would add a banner to it.
exec mpirun --quiet --bind-to none --oversubscribe "$@"
