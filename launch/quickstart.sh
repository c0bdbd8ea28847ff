#!/usr/bin/env bash
# From a bare machine to a retrieval report: sets up, builds, makes the emoji dataset, and runs the whole job on two MPI ranks.
# usage: launch/quickstart.sh [--seed N] [--set key=value ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seed=0
settings=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seed) seed=${2:?--seed needs a number}; shift 2 ;;
    --set) settings+=(--set "${2:?--set needs key=value}"); shift 2 ;;
    *) sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2 ;;
  esac
done
run=runs/quickstart
[ "$seed" = 0 ] || run=$run-seed$seed

launch/setup.sh
launch/build.sh release syncdr syncdr-data
build/release/bin/syncdr-data emoji -o data/emoji
launch/mpirun.sh -np "${RANKS:-2}" build/release/bin/syncdr run configs/quickstart.toml --set seed="$seed" --set run.out="$run" "${settings[@]}"
