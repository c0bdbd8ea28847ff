#!/usr/bin/env bash
# Slurm 24.11.5 (Debian 13), scancel --signal. Seen on 2026-11-29.
# Expected: scancel --signal=USR2 JOB signals the job's processes, or says that nobody got the signal.
# Happens: it signals the steps only. A job that runs its program without srun, with mpirun or plainly, gets nothing, and scancel ends with 0 and without a word.
#   --batch reaches the batch shell alone, --full both.
# Matters: "save your state and stop" by scancel works on the job that uses srun, and is silently lost on the one that uses mpirun; then comes the time limit.
# Source: scancel(1), --batch and --full: without them only steps are signalled.
. "$(dirname "$0")/common.sh"
slurm trixie 24.11.5-4+deb13u1 <<'E'
cat > listen <<'L'
#!/bin/bash
exec 2> /dev/null; trap "echo -n ' $1'" USR2; touch ready.$1; for i in {1..60}; do sleep 0.1; done
L
chmod 755 listen
run() { # WHAT, the batch script's line, scancel's options
  printf '#!/bin/bash\ntrap "echo -n \\" shell\\"" USR2\n%s\n' "$2" > job; rm -f ready.*
  id=$(sbatch --parsable -o log.job job); until ls ready.* > /dev/null 2>&1; do sleep 0.2; done; sleep 1
  scancel --signal=USR2 $3 $id; code=$?
  until [[ $(state $id) == COMPLETED ]]; do sleep 0.3; done
  echo "$1, scancel --signal=USR2 $3: ends with $code, reached:$(cat log.job)" | sed 's/ :/:/; s/:$/: nobody/'
}
run "program started plainly" './listen program & wait; wait'
run "program started plainly" './listen program & wait; wait' --batch
run "program started by srun" 'srun -n 1 ./listen step & wait; wait'
run "program started by srun" 'srun -n 1 ./listen step & wait; wait' --full
E
verdict <<'E'
program started plainly, scancel --signal=USR2: ends with 0, reached: nobody
program started plainly, scancel --signal=USR2 --batch: ends with 0, reached: shell
program started by srun, scancel --signal=USR2: ends with 0, reached: step
program started by srun, scancel --signal=USR2 --full: ends with 0, reached: shell step
E
