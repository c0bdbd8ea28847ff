#!/usr/bin/env bash
# Slurm 24.11.5 (Debian 13), sbatch --dependency. Seen on 2026-11-29.
# Expected: a job that depends on another with afterok runs once that other job has succeeded, be it in its second life; or it is cancelled when the first life fails.
# Happens: after the first life fails the dependent job waits with DependencyNeverSatisfied, and it goes on waiting when the job is requeued and succeeds.
#   A job that requeues itself before it ends keeps its dependents: they run after its last life.
# Matters: a pipeline whose first stage is requeued by hand, or by an epilog, after it has ended stands still for ever, without a failed job in sight.
# Source: sbatch(1), --dependency; squeue(1), the reason DependencyNeverSatisfied.
. "$(dirname "$0")/common.sh"
slurm trixie 24.11.5-4+deb13u1 <<'E'
pair() {
  printf '#!/bin/bash\n[[ -n $SLURM_RESTART_COUNT ]] && exit 0\n%s\n' "$1" > first; printf '#!/bin/bash\n' > second
  a=$(sbatch --parsable --requeue -o /dev/null first); b=$(sbatch --parsable -o /dev/null --dependency=afterok:$a second)
}
report() { sleep 6; echo "$1: the first job is $(state $a), its dependent $(squeue -h -t all -j $b -o '%T (%r)')"; }
pair 'exit 85'; until_state $a FAILED; report "after a first life that failed"
scontrol requeue $a; until_state $a COMPLETED; report "requeued, second life succeeded"
pair 'scontrol requeue $SLURM_JOB_ID; sleep 60'; until_state $b COMPLETED; report "requeued from within"
E
verdict <<'E'
after a first life that failed: the first job is FAILED, its dependent PENDING (DependencyNeverSatisfied)
requeued, second life succeeded: the first job is COMPLETED, its dependent PENDING (DependencyNeverSatisfied)
requeued from within: the first job is COMPLETED, its dependent COMPLETED (None)
E
