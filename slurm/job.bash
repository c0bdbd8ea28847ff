# What the job scripts share: starts the ranks of this allocation, hands the stop signal on to them, and decides by their exit code. Sourced, not run.
#
# The environment chooses (sbatch takes it along):
#   LAUNCHER        srun (with PMIx; the default) or mpirun
#   MPI_TYPE        srun's --mpi (pmix; `srun --mpi=list` shows what this cluster has)
#   GPU_BIND        which of the job's GPUs on its node srun shows a rank: all, of which it takes the one of its own number, or a value of --gpu-bind
#   LAUNCH_OPTIONS  further options of srun or mpirun
#   TRIES           how often a job may fail for a reason that can pass before it gives up (3); stops on request do not count
#   STOP_SIGNAL     the configuration's stop_signal (USR2)
#   SYNCDR_HOME     folder of syncdr, where jobs are not submitted from it
#   SYNCDR_BIN      folder of the programs (build/release/bin of SYNCDR_HOME)
set -uo pipefail
: "${SYNCDR_HOME:=$SLURM_SUBMIT_DIR}" "${LAUNCHER:=srun}" "${TRIES:=3}" "${STOP_SIGNAL:=USR2}"
: "${SYNCDR_BIN:=$SYNCDR_HOME/build/release/bin}"
failures_file=$SLURM_SUBMIT_DIR/.syncdr-failures-$SLURM_JOB_ID

# Threads of a rank: the cores that --cpus-per-task gives it.
cores=${SLURM_CPUS_PER_TASK:-1}
export OMP_NUM_THREADS=$cores

say() { printf '%(%T)T job %s: %s\n' -1 "$SLURM_JOB_ID" "$*" >&2; }

with_srun() {
  local options=(
    --mpi="${MPI_TYPE:-pmix}"   # ranks find each other through Slurm's own daemons
    --cpus-per-task="$cores"    # since Slurm 22.05 srun does not take this from the job
    --distribution=block:block  # neighbouring ranks get neighbouring cores: rank i of a node sits near GPU i, as most machines number them
    --kill-on-bad-exit=0        # ranks end together, but not in the same moment: killed for that, they would hide their exit code behind 143
    --wait=20                   # where one is gone and the others would wait for it until their deadline, this ends them
  )
  # A rank keeps its cores, and the memory near them. The scripts' --hint=nomultithread says so already, and srun takes no more than one of the two.
  [ -n "${SLURM_HINT:-}" ] || options+=(--cpu-bind=cores)
  # Not "none": with that Slurm 22.05 tells ranks nothing of the job's GPUs, and without cgroups they would take others'.
  [ -z "${SLURM_GPUS_ON_NODE:-}" ] || [ "${GPU_BIND:-all}" = all ] || options+=(--gpu-bind="$GPU_BIND")
  exec srun "${options[@]}" $LAUNCH_OPTIONS "$@"
}

with_mpirun() {
  # mpirun starts a daemon on each node through srun; the daemons start the ranks: as many a node as the job asks for, each tied to its cores.
  MPIRUN_PLACEMENT="--map-by ppr:${SLURM_NTASKS_PER_NODE:-1}:node:PE=$cores --bind-to core"
  OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-0}  # no rank shares its cores
  export MPIRUN_PLACEMENT OMPI_MCA_mpi_yield_when_idle
  exec "$SYNCDR_HOME/launch/mpirun.sh" $LAUNCH_OPTIONS "$@"
}

# The launcher hands USR1 and USR2 on to all ranks. It would take TERM as an order to kill them, so TERM goes on as the stop signal.
launcher='' stopping='' interrupted=''
pass_on() {
  interrupted=yes
  [ -n "$stopping" ] || say "signal $1: the ranks are asked to save their state and end"
  stopping=yes
  [ -z "$launcher" ] || kill -"$STOP_SIGNAL" "$launcher" 2>/dev/null
}

run_ranks() {
  local code=0
  LAUNCH_OPTIONS=${LAUNCH_OPTIONS:-}
  case $LAUNCHER in srun | mpirun) ;; *) say "LAUNCHER is \"$LAUNCHER\", not srun or mpirun"; exit 2 ;; esac
  if [ "${SLURM_GPUS_ON_NODE:-1000}" -lt "${SLURM_NTASKS_PER_NODE:-1}" ]; then
    say "$SLURM_NTASKS_PER_NODE ranks for $SLURM_GPUS_ON_NODE GPUs a node: ask for as many GPUs as ranks, or for none"
    exit 2
  fi
  for signal in TERM USR1 USR2; do trap "pass_on $signal" "$signal"; done
  say "${SLURM_JOB_NUM_NODES:-1} nodes, ${SLURM_NTASKS_PER_NODE:-1} ranks a node, $cores cores a rank, ${SLURM_GPUS_ON_NODE:-no} GPUs a node, by $LAUNCHER: $*"
  if [ -z "$stopping" ]; then
    "with_$LAUNCHER" "$@" &
    launcher=$!
    # bash returns from `wait` to run a trap: the launcher is still there then.
    while interrupted=; wait "$launcher"; code=$?; [ -n "$interrupted" ] && [ "$code" -gt 128 ]; do :; done
  else
    code=85
  fi
  decide "$code"
}

decide() {
  local code=$1 failures
  # A rank that was still starting has no handler yet, and the signal ends it: stopped all the same.
  [ -z "$stopping" ] || [ "$code" -le 128 ] || code=85
  case $code in 132 | 134 | 136 | 139) say "a rank crashed (signal $((code - 128))): a bug, please report it"; code=70 ;; esac
  if [ "$code" = 0 ]; then
    say "done"
  elif [ "$code" = 85 ]; then
    requeue "stopped on request" && exit 85
  elif [ "$code" = 75 ] || [ "$code" -gt 128 ]; then  # a peer or a deadline failed, or a signal ended a rank: memory, a node's trouble
    failures=$(($(cat "$failures_file" 2>/dev/null || echo 0) + 1))
    if [ "$failures" -lt "$TRIES" ] && echo "$failures" >"$failures_file"; then
      requeue "exit code $code, failure $failures of at most $TRIES" && exit "$code"
    else
      say "exit code $code, failure $failures of at most $TRIES: giving up. Submitted again, the job goes on where it stood"
    fi
  else
    say "exit code $code: giving up, the same job would fail again"
  fi
  rm -f "$failures_file"
  exit "$code"
}

# Back to the queue, unless the job is being cancelled: Slurm would bring it back to life.
requeue() {
  local state
  state=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T 2>/dev/null)
  if [ "$state" != RUNNING ]; then say "$1; not requeued, the job is ${state:-gone}"; return 1; fi
  trap '' TERM  # with which Slurm now ends this life of the job
  say "$1: back to the queue"
  scontrol requeue "$SLURM_JOB_ID" && return 0
  say "this cluster refused to requeue the job. Submit it again, it goes on where it stood"
  return 1
}
