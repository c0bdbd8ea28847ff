# Starts the ranks of this allocation, hands the stop signal on to them, and decides by their exit code. Sourced by phase.sbatch, not run.
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
: "${SYNCDR_HOME:=$SLURM_SUBMIT_DIR}" "${LAUNCHER:=srun}" "${TRIES:=3}"
: "${SYNCDR_BIN:=$SYNCDR_HOME/build/release/bin}"
failures_file=$SLURM_SUBMIT_DIR/.syncdr-failures-$SLURM_JOB_ID

# Threads of a rank: the cores that --cpus-per-task gives it.
cores=${SLURM_CPUS_PER_TASK:-1}
export OMP_NUM_THREADS=$cores

say() { printf '%(%T)T job %s: %s\n' -1 "$SLURM_JOB_ID" "$*" >&2; }
. "$SYNCDR_HOME/launch/signals.bash" && . "$SYNCDR_HOME/launch/said.bash" || exit 2
# Through netlink OpenMPI 5 finds no way between addresses of IPv6, and says so once per rank.
export OMPI_MCA_reachable=${OMPI_MCA_reachable:-^netlink}

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
  hear srun "${options[@]}" $LAUNCH_OPTIONS "$@"
}

with_mpirun() {
  # mpirun starts a daemon on each node through srun; the daemons start the ranks: as many a node as the job asks for, each tied to its cores.
  MPIRUN_PLACEMENT="--map-by ppr:${SLURM_NTASKS_PER_NODE:-1}:node:PE=$cores --bind-to core"
  OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-0}  # no rank shares its cores
  export MPIRUN_PLACEMENT OMPI_MCA_mpi_yield_when_idle
  follow "$SYNCDR_HOME/launch/mpirun.sh" $LAUNCH_OPTIONS "$@"
}

run_ranks() {
  LAUNCH_OPTIONS=${LAUNCH_OPTIONS:-}
  case $LAUNCHER in srun | mpirun) ;; *) say "LAUNCHER is \"$LAUNCHER\", not srun or mpirun"; exit 2 ;; esac
  if [ "${SLURM_GPUS_ON_NODE:-1000}" -lt "${SLURM_NTASKS_PER_NODE:-1}" ]; then
    say "$SLURM_NTASKS_PER_NODE ranks for $SLURM_GPUS_ON_NODE GPUs per node: ask for as many GPUs as ranks, or for none"
    exit 2
  fi
  say "${SLURM_JOB_NUM_NODES:-1} nodes, ${SLURM_NTASKS_PER_NODE:-1} ranks per node, $cores cores per rank, ${SLURM_GPUS_ON_NODE:-no} GPUs per node, by $LAUNCHER: $*"
  stop_on="TERM USR1 USR2" hard=''
  "with_$LAUNCHER" "$@"
  decide "$code"
}

decide() {
  local code=$1 failures
  if [ "$code" = 0 ]; then
    say "done"
  elif [ "$code" = 85 ]; then
    requeue "stopped on request" && exit 85
  elif [ "$code" = 75 ]; then  # a peer or a deadline failed, or a signal ended a rank: memory, a node's trouble
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
  local known version
  known=$(scontrol --oneliner show job "$SLURM_JOB_ID" 2>/dev/null | grep "^JobId=$SLURM_JOB_ID ")  # one job of an array, not all
  [[ $known =~ " JobState="([A-Z_]+) ]]
  if [ "${BASH_REMATCH[1]:-}" != RUNNING ]; then say "$1; not requeued, the job is ${BASH_REMATCH[1]:-gone}"; return 1; fi
  version=$(scontrol --version)
  if [[ $known == *" PreemptTime="[0-9]* ]] && [ "$(printf '%s\n' 24.05 "${version##* }" | sort -V | head -n 1)" = 24.05 ]; then
    # It has made room for another. Since 24.05 Slurm itself requeues a job that ends then; told to, it would do so once more when the job is done.
    say "$1: Slurm puts the job back into the queue, as it has preempted it"
    return 0
  fi
  trap '' TERM  # with which Slurm now ends this life of the job
  say "$1: back to the queue"
  scontrol requeue "$SLURM_JOB_ID" && return 0
  say "this cluster refused to requeue the job. Submit it again, it goes on where it stood"
  return 1
}
