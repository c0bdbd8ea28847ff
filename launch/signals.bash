# How launch/mpirun.sh, launch/job.sh and slurm/job.bash run a command and hand their signals on to it. Sourced, not run.
#
#   stop_on="TERM INT" hard="hand_on QUIT"   the signals that ask the job to stop; the command that ends it at once (empty: none)
#   start COMMAND...                         in the background
#   await                                    until it has ended; its exit code in $code
#   code=$(stopped "$code")                  85 where it was the stop that ended it
#
# The first of these signals goes on as STOP_SIGNAL (the configuration's stop_signal, USR2): the ranks save their state and end with 85. Launchers would
# take TERM as an order to kill them. A second INT or TERM, or QUIT, calls $hard. The script that sources this has a function `say`.
# Traps must not fork: bash's `wait` may then lose the job's end, and wait for ever or return -1. What has to happen later is left to the clock of said.bash.
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

start() {
  local name guard=()
  for name in USR1 USR2; do trap "hand_on $name" "$name"; done
  # No trap on CONT: Slurm sends it beside the stop signal, and of two that come at once bash may lose one.
  trap 'hand_on TSTP; kill -STOP $$; hand_on CONT' TSTP
  for name in $stop_on ${hard:+QUIT}; do trap "on_stop_signal $name" "$name"; done
  # If this script is killed, the command is asked to end.
  ! command -v setpriv >/dev/null || guard=(setpriv --pdeathsig TERM)
  # A process group of its own: a terminal's Ctrl-C comes to this script alone, which hands it on once (twice would mean: now).
  set -m
  if [ -n "$clock" ]; then "${guard[@]}" "$@" <&0 {clock}>&- & else "${guard[@]}" "$@" <&0 & fi
  job=$!
  order job "$job"
  [ -z "$stopping" ] || ask_to_stop
}

# bash returns from `wait` to run a trap: the job is still there then.
await() {
  while interrupted=; wait "$job" 2>/dev/null; code=$?; [ -n "$interrupted" ] && [ "$code" -gt 128 ]; do :; done
  job=''
}

# A rank that was still starting has no handler yet, and the signal ends it: stopped all the same.
stopped() {
  if [ "$stopping" = hard ] || { [ -n "$stopping" ] && { [ "$1" = 75 ] || [ "$1" -gt 128 ]; }; }; then echo 85; else echo "$1"; fi
}
