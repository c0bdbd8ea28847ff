# How launch/mpirun.sh, launch/job.sh and slurm/job.bash run a command and hand their signals on to it. Sourced, not run.
#
#   stop_on="TERM INT" hard="hand_on QUIT"   the signals that ask the job to stop; the command that ends it at once (empty: none)
#   follow COMMAND...                        runs it to its end, whatever signals come; its exit code in $code, 85 where it was the stop that ended it
# In pieces, for said.bash, which has something to do between them:
#   start COMMAND...                         in the background
#   await                                    until it has ended; its exit code in $code
#   stopped CODE                             prints 85 where it was the stop that ended it, else CODE
#
# The first of these signals goes on as STOP_SIGNAL (the configuration's stop_signal, USR2): the ranks save their state and end with 85. Launchers would
# take TERM as an order to kill them. A second INT or TERM, or QUIT, calls $hard. The script that sources this has a function `say`.
# Traps must not fork: bash's `wait` may then lose the job's end, and wait for ever or return -1. What has to happen later is left to the clock.
stop_signal=${STOP_SIGNAL:-USR2}
job='' stopping='' interrupted='' clock=''
hand_on() { interrupted=yes; [ -z "$job" ] || kill -"$1" "$job" 2>/dev/null; }
order() { [ -z "$clock" ] || echo "$@" >&"$clock"; }
ask_to_stop() { hand_on "$stop_signal"; order stop; }

on_stop_signal() {
  if [ -n "$hard" ] && { [ "$1" = QUIT ] || [[ "$stopping $1" =~ ^(INT|TERM)" "(INT|TERM)$ ]]; }; then
    stopping=hard
    interrupted=yes
    $hard
  elif [ -z "$stopping" ]; then
    stopping=$1
    [ "$1" = "${silent_on:-}" ] || say "signal $1: the ranks are asked to save their state and end${hard:+. Once more: they are ended at once}"
    ask_to_stop
  else
    [ "$stopping" = hard ] || stopping=$1
    interrupted=yes
  fi
}

# A process that does in time what has been ordered: `job PID`, the job begins, or without PID has ended; `stop`, repeat the stop signal, since 4.1.4's mpirun and
# Slurm 22.05's srun lose one that comes in their first 0.2 s, as does a script that is just starting (ranks take a second one for the same request);
# `kill SECONDS`, end the job then. It ends when nobody can order anything any more.
start_clock() { exec {clock}> >(trap '' HUP INT QUIT TERM USR1 USR2; run_clock "${1:-}" >/dev/null); }
run_clock() {
  local order value launcher=$1 job='' now stop_at='' kill_at='' look_at=0 had='' ranks_at
  while read -rt 0.5 order value || { [ $? -gt 128 ] && order=''; }; do
    now=${EPOCHREALTIME/./}
    case $order in
      job)
        job=$value ranks_at=$now
        [ -n "$job" ] || had='' kill_at='' ;;
      stop) stop_at=$((now + 3000000)) ;;
      kill) kill_at=${kill_at:-$((now + value * 1000000))} ;;
    esac
    [ -n "$job" ] || continue
    if [ -n "$stop_at" ] && [ "$now" -ge "$stop_at" ]; then kill -"$stop_signal" "$job"; stop_at=$((now + 3000000)); fi
    # Ranks may also end without MPI_Abort (by a watchdog, say), and 5.0.7 says nothing then while it waits. Those of this host are gone for 8 s.
    if [ "$launcher" = mpirun ] && [ "$now" -ge "$look_at" ]; then
      look_at=$((now + 2000000))
      if ranks_here; then had=yes ranks_at=$now; fi
      [ -z "$had" ] || [ $((now - ranks_at)) -lt 8000000 ] || kill_at=$now
    fi
    # Not by TERM: in this state 4.1.4 crashes at it, and 5.0.7 takes no notice. What it has started here goes too: ranks, and the ssh that leads to an
    # unreachable host. Daemons that can be reached end when mpirun is gone, the ranks of srun with the job of Slurm.
    if [ -n "$kill_at" ] && [ "$now" -ge "$kill_at" ]; then kill -KILL $(children) "$job"; fi
  done 2>/dev/null
}
children() { cat /proc/"$job"/task/*/children; }
ranks_here() {
  local process
  for process in $(children); do grep -qz ^OMPI_COMM_WORLD_RANK= "/proc/$process/environ" && return; done
  return 1
}

start() {
  local name guard=()
  [ -n "$clock" ] || start_clock
  for name in USR1 USR2; do trap "hand_on $name" "$name"; done
  # No trap on CONT: Slurm sends it beside the stop signal, and of two that come at once bash may lose one.
  trap 'hand_on TSTP; kill -STOP $$; hand_on CONT' TSTP
  for name in $stop_on ${hard:+QUIT}; do trap "on_stop_signal $name" "$name"; done
  # If this script is killed, the command is asked to end.
  ! command -v setpriv >/dev/null || guard=(setpriv --pdeathsig TERM)
  # A process group of its own: a terminal's Ctrl-C comes to this script alone, which hands it on once (twice would mean: now).
  set -m
  "${guard[@]}" "$@" <&0 {clock}>&- &
  job=$!
  order job "$job"
  [ -z "$stopping" ] || ask_to_stop
}

# bash returns from `wait` to run a trap: the job is still there then.
await() {
  while interrupted=; wait "$job" 2>/dev/null; code=$?; [ -n "$interrupted" ] && [ "$code" -gt 128 ]; do :; done
  job=''
  order job
}

# A rank that was still starting has no handler yet, and the signal ends it: stopped all the same.
stopped() {
  if [ "$stopping" = hard ] || { [ -n "$stopping" ] && { [ "$1" = 75 ] || [ "$1" -gt 128 ]; }; }; then echo 85; else echo "$1"; fi
}

follow() { start "$@"; await; code=$(stopped "$code"); }
