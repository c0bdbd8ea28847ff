#!/usr/bin/env bash
# Slurm 24.11.5 (Debian 13), requeued jobs. Seen on 2026-11-29.
# Expected: the log of a job that is requeued holds what each of its lives wrote; the first life has SLURM_RESTART_COUNT=0.
# Happens: each life truncates the file, so the reason for the requeue is gone, unless --open-mode=append is given. SLURM_RESTART_COUNT is not set in the first life.
# Matters: a job that fails, requeues itself and fails again leaves only the last life's messages; `[ "$SLURM_RESTART_COUNT" -gt 3 ]`, meant to end that, is an error at first.
# Source: sbatch(1), --open-mode; slurm.conf(5), JobFileAppend (0: truncate); sbatch(1), SLURM_RESTART_COUNT: "if the job has been restarted".
. "$(dirname "$0")/common.sh"
slurm trixie 24.11.5-4+deb13u1 <<'E'
printf '#!/bin/bash\necho "life with SLURM_RESTART_COUNT=${SLURM_RESTART_COUNT-(not set)}"\n[[ -n $SLURM_RESTART_COUNT ]] || { scontrol requeue $SLURM_JOB_ID; sleep 60; }\n' > job
for mode in "" --open-mode=append; do
  id=$(sbatch --parsable --requeue -o log.job $mode job); until_state $id COMPLETED
  echo "sbatch $mode"; grep life log.job | sed 's/^/  /'; rm log.job
done
E
verdict <<'E'
sbatch 
  life with SLURM_RESTART_COUNT=1
sbatch --open-mode=append
  life with SLURM_RESTART_COUNT=(not set)
  life with SLURM_RESTART_COUNT=1
E
