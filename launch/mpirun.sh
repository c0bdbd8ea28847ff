#!/usr/bin/env bash
# mpirun for one workstation or one container: more ranks than cores are allowed, root is allowed, and ranks are not tied to cores
# (mpirun ties each to one core by default, and all threads of a rank would then share it). One thread a rank unless OMP_NUM_THREADS is set.
# usage: launch/mpirun.sh MPIRUN-OPTIONS... PROGRAM ARGUMENTS...
#
# MPIRUN_PLACEMENT  options instead of "--bind-to none --oversubscribe"; launch/job.sh and slurm/ set it
# Signals sent to this script go on to mpirun, which hands USR1 and USR2 to the ranks, and ends them on INT and TERM.
# Exit code: the ranks'. Where a signal ended a rank, one line names it and its host, and the code is 70 for a crash (a bug), 75 for any other signal (out of
# memory, say); 75 too where a host was lost. After 75 another try is worth it. Of a rank that dies in its first moments mpirun tells the code alone
# (128 + the signal), not which it was.
set -uo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Idle ranks yield their core: with more ranks than cores a spinning rank would starve the one it waits for.
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
# Where the network between hosts is gone, mpirun and its daemons there notice after a minute (their own default: 8 minutes). The environment may say otherwise.
for setting in time=30 intvl=10 probes=3; do
  for name in {OMPI,PRTE}_MCA_oob_tcp_keepalive_"${setting%=*}"; do export "$name=${!name:-${setting#*=}}"; done
done
read -ra placement <<<"${MPIRUN_PLACEMENT:---bind-to none --oversubscribe}"

# mpirun puts what it has to say between two rules. A rank that failed has said itself what is wrong; of mpirun's words about it only those on a signal
# or a lost host are kept. What else stands between rules (no such program, too few slots) stays.
rule=--------------------------------------------------------------------------
filter() {
  local line block=() inside='' code=0 told=''
  trap '' HUP INT TERM USR1 USR2  # a signal for the job must not end the filter before the job
  while IFS= read -r line || [ -n "$line" ]; do
    if [[ $line == "mpirun: Forwarding signal "* || $line == *"ORTE_ERROR_LOG: "*"orte/util/show_help.c "* ]]; then
      continue  # the second: mpirun could not read what MPI_Abort would have it say
    elif [ "$line" != "$rule" ]; then
      [ -n "$inside" ] && block+=("$line") || printf '%s\n' "$line"
    elif [ -z "$inside" ]; then
      inside=yes
    else
      show_block "${block[@]}" || code=$?
      [ -z "$told" ] && [ "$code" != 0 ] && told=yes && kill -ALRM $$
      block=() inside=''
    fi
  done
  [ -z "$inside" ] || printf '%s\n' "$rule" "${block[@]}"
  return "$code"
}

# ended_by RANK SIGNAL [NAME]: says so, and returns the job's exit code.
ended_by() {
  case $2 in
    4 | 6 | 8 | 11) echo "mpirun.sh: $1 was ended by signal $2${3:-}: a bug, please report it"; return 70 ;;
  esac
  echo "mpirun.sh: $1 was ended by signal $2${3:-}. Start the job again: what is sealed is kept"
  return 75
}

# Returns the job's exit code if the block tells of a signal, a lost host or MPI_Abort, else 0.
show_block() {
  local words=$*
  if [[ $words =~ "noticed that process rank "([0-9]+)" with PID "[0-9]+" on node "([^ ]+)" exited on signal "([0-9]+)(" ("[^\)]*")")? ]]; then
    ended_by "rank ${BASH_REMATCH[1]} on ${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}" "${BASH_REMATCH[4]}"
    return
  fi
  if [[ $words =~ "MPI_ABORT was invoked".*[Ee]rror" "?code:?" "([0-9]+) ]]; then return "${BASH_REMATCH[1]}"; fi
  case $words in
    *"process returned a non-zero exit code"* | *"processes exited with non-zero status"*) return 0 ;;
  esac
  printf '%s\n' "$rule" "$@" "$rule"
  [[ $words != *"lost communication with a remote daemon"* ]] || return 75
}

# Standard error alone passes the filter (mpirun never shows ranks a terminal there); standard output is left as it is.
exec {errors}> >(filter >&2)
filter_pid=$!
job='' interrupted='' ended=''
pass_on() {
  interrupted=yes
  case $1 in HUP | INT | TERM) ended=yes ;; esac
  [ -z "$job" ] || kill -"$1" "$job" 2>/dev/null
}
for signal in HUP INT TERM USR1 USR2 CONT; do trap "pass_on $signal" "$signal"; done
trap 'pass_on TSTP; kill -STOP $$' TSTP

# The job is over, says mpirun. Then it waits for its daemons, for ever for one that it cannot reach: one whose host's network is gone.
overdue=''
end_mpirun() {
  # Not TERM: mpirun 4.1.4 has begun to end, and would crash; 5.0.7 takes no notice. Daemons that can be reached end when mpirun is gone.
  { sleep 3; pkill -KILL -P "$job"; kill -KILL "$job"; } 2>/dev/null &
  overdue=$!
}
trap 'interrupted=yes; end_mpirun' ALRM

# A process group of its own: a terminal's Ctrl-C comes to this script alone, which hands it on once (twice would mean: now, without cleaning up).
set -m
# If this script is killed, so is mpirun.
guard=()
! command -v setpriv >/dev/null || guard=(setpriv --pdeathsig TERM)
"${guard[@]}" mpirun "${placement[@]}" "$@" 2>&"$errors" {errors}>&- &
job=$!
exec {errors}>&-

code=0
while interrupted=; wait "$job" 2>/dev/null; code=$?; [ -n "$interrupted" ] && [ "$code" -gt 128 ]; do :; done
[ -z "$overdue" ] || pkill -P "$overdue" || kill "$overdue" 2>/dev/null
for _ in {1..150}; do kill -0 "$filter_pid" 2>/dev/null || break; sleep 0.02; done  # its last lines; a stray process of the job must not hold this up
kill -KILL "$filter_pid" 2>/dev/null
wait "$filter_pid"
heard=$?
if [ -z "$ended" ]; then
  if [ "$heard" != 0 ]; then
    code=$heard
  elif [ "$code" -gt 128 ] && name=$(kill -l $((code - 128)) 2>/dev/null); then
    ended_by "a rank" $((code - 128)) " ($name)" >&2
    code=$?
  fi
fi
exit "$code"
