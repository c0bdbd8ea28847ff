#!/usr/bin/env bash
# Slurm 24.11.5 (Debian 13), sbatch --wait. Seen on 2026-11-29.
# Expected: a job that did not run to its end makes sbatch --wait fail; one that a signal killed gives 128 + signal, as srun does.
# Happens: a job that is cancelled while it waits for its turn makes it succeed, with 0. A job killed by KILL, or cancelled while it runs, gives 1.
# Matters: "sbatch --wait train && sbatch evaluate" goes on without a model after an administrator, or a user, has cancelled a waiting job.
# Source: sbatch(1), --wait ("the exit code of the sbatch command will be the same as the exit code of the submitted job"); a job that never ran has exit code 0.
. "$(dirname "$0")/common.sh"
slurm trixie 24.11.5-4+deb13u1 <<'E'
submit() { rm -f answer; printf '#!/bin/bash\n%s\n' "$1" > job; shift; sbatch --wait -o /dev/null "$@" job > answer & waiting=$!; until grep -qs job answer; do sleep 0.2; done; id=$(grep -o '[0-9]*' answer); }
ended() { wait $waiting; code=$?; sleep 2; echo "$1: sbatch --wait ends with $code, the job is $(state $id)"; }
submit 'exit 85'; ended "exit 85"
submit 'kill -KILL $$'; ended "killed by KILL"
submit 'sleep 60'; until_state $id RUNNING; scancel $id; ended "cancelled while it runs"
submit 'exit 85' --begin=now+1hour; sleep 1; scancel $id; ended "cancelled while it waits"
E
verdict <<'E'
exit 85: sbatch --wait ends with 85, the job is FAILED
killed by KILL: sbatch --wait ends with 1, the job is FAILED
cancelled while it runs: sbatch --wait ends with 1, the job is CANCELLED
cancelled while it waits: sbatch --wait ends with 0, the job is CANCELLED
E
