# What launchers say, and what it means: the one place that knows their words. Sourced by launch/mpirun.sh and slurm/job.bash, beside signals.bash.
# launch/README.md has the table of the words, their sources and the versions they were seen with.
#
#   hear COMMAND...   runs a launcher, shows of its standard error what is for people, and returns the job's exit code

own_line='^(srun: |slurmstepd-|[0-9]{2}:[0-9]{2}:[0-9]{2} )'
rule=--------------------------------------------------------------------------

# Reads a launcher's standard error. What is for people goes to standard error; what the launcher means, to standard output, a fact on each line:
#   signal RANK HOST NAME   a signal ended a rank                 lost HOST    mpirun or srun cannot reach a host
#   exit RANK CODE          a rank ended with a code              refused      the launcher did not start the job
#   abort [CODE]            a rank has called MPI_Abort           over         the launcher ends the other ranks
listen() {
  local line block=() inside='' group=''
  while IFS= read -r line || [ -n "$line" ]; do  # NUL bytes, which 5.0.7 puts behind a block, are dropped by `read`
    if [ "$line" = "$rule" ]; then
      if [ -n "$inside" ]; then hear_block "${block[@]}"; fi
      [ -n "$inside" ] && inside='' || inside=yes
      block=()
    elif [ -n "$inside" ] && [[ ! $line =~ $own_line ]]; then  # srun and other ranks speak in the midst of a block
      block+=("$line")
    elif [[ $line == *"*** An error occurred in Socket closed" ]]; then
      group=${line%An error*}  # 5.0.7's word for a peer that has gone: six lines, without its name
    elif [ -n "$group" ] && [[ $line == "$group"* ]]; then
      :
    elif [[ $line == "NBC_Progress: an error 75 was found "* ]]; then
      read -r line  # the same to a collective operation, and an empty line
    else
      group=''
      hear_line "$line"
    fi
  done
  [ -z "$inside" ] || printf '%s\n' "$rule" "${block[@]}" >&2
}

# mpirun and the MPI library put what they say between two rules. A rank that failed has said itself what is wrong; what else stands there stays.
hear_block() {
  local words
  read -r -d '' -a words <<<"$*"  # lines break at a width, which differs
  words=${words[*]}
  if [[ $words =~ "noticed that process rank "([0-9]+)" with PID "[0-9]+" on node "([^ ]+)" exited on signal "([0-9]+(" ("[^\)]*")")?) ]]; then
    echo "signal ${BASH_REMATCH[1]} ${BASH_REMATCH[2]} ${BASH_REMATCH[3]}"
  elif [[ $words =~ "processes exited with non-zero status".*"Process name: ["[^\ ]*[,@]([0-9]+)"] Exit code: "([0-9]+) ]]; then
    echo "exit ${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
    the_job_is_over
  elif [[ $words =~ "MPI_ABORT was invoked on rank ".*("with errorcode "|"Errorcode: ")([0-9]+) ]]; then
    echo "abort ${BASH_REMATCH[2]}"
    the_job_is_over
  elif [[ $words =~ "lost communication with a remote daemon".*"Remote daemon: "[^\ ]*" on node "([^ ]+) ]]; then
    echo "lost ${BASH_REMATCH[1]}"
    the_job_is_over
  elif [[ $words != *" returned a non-zero exit code"* && $words != *"MPI communication peer process has unexpectedly disconnected"* &&
          $words != *"has exited due to process rank "*" calling \"abort\""* ]]; then  # the last names the rank that reports, not the one at fault
    printf '%s\n' "$rule" "$@" "$rule" >&2
    case $words in
      *"unable to reliably start one or more daemons"* | *"daemon has unexpectedly failed after launch"*) echo "lost a host" ;;
      *) echo refused ;;
    esac
  fi
}

hear_line() {
  local tasks='^srun: error: ([^ ]+): tasks? ([0-9]+)[^ ]*: (.*)$'
  case $1 in
    "mpirun: Forwarding signal "* | *"] plm:rsh: Warning: setpgid("* | *" more process"*" sent help message "* | *"Set MCA parameter \"orte_base_help_aggregate\""*) ;;
    *"ORTE_ERROR_LOG: "*"orte/util/show_help.c "*) echo abort; the_job_is_over ;;  # mpirun could not read what MPI_Abort would have it say
    "mpirun: Error: "*) echo refused; printf '%s\n' "$1" >&2 ;;
    "srun: error: Node failure on "*) echo "lost ${1##* }"; printf '%s\n' "$1" >&2 ;;
    "srun: First task exited "* | "srun: "*"StepId="*" task"* | "srun: "*"Terminating StepId="* | "srun: Force Terminated StepId="*) ;;
    "srun: Job step aborted: "* | "slurmstepd-"*" CANCELLED AT "[-0-9T:]*[0-9]" ***") echo over ;;
    "slurmstepd-"*"mpi/pmix_v"*"_errhandler: "*) ;;
    "srun: error: "*": task"*": "*)
      if [[ $1 =~ $tasks ]]; then
        if [[ ${BASH_REMATCH[3]} == "Exited with exit code "* ]]; then
          echo "exit ${BASH_REMATCH[2]} ${BASH_REMATCH[3]##* }"
          [ "${BASH_REMATCH[3]##* }" != 75 ] || the_job_is_over
        else
          echo "signal ${BASH_REMATCH[2]} ${BASH_REMATCH[1]} ${BASH_REMATCH[3]}"
        fi
      else
        printf '%s\n' "$1" >&2
      fi ;;
    "srun: error: "* | "srun: fatal: "* | "srun: unrecognized option"* | "slurmstepd-"*": error: execve(): "*) echo refused; printf '%s\n' "$1" >&2 ;;
    *) printf '%s\n' "$1" >&2 ;;
  esac
}

# The launcher waits for all hosts then, without end for one whose network is gone. It has 2 s, as long as 4.1.4 takes to end ranks that do not heed TERM.
the_job_is_over() { order kill 2; }
end_launcher() { hand_on TERM; order kill 5; }

hear() {
  local launcher=$1 facts errors ear
  start_clock "$launcher"
  coproc listener { trap '' HUP INT QUIT TERM USR1 USR2; listen; }  # a signal for the job must not end the listener before the job
  ear=$!
  disown "$ear"  # or bash would tell of its end
  exec {facts}<&"${listener[0]}" {errors}>&"${listener[1]}" {listener[0]}<&- {listener[1]}>&-
  # Standard error alone is listened to (mpirun never shows ranks a terminal there); standard output is left as it is.
  start "$@" 2>&"$errors" {errors}>&- {facts}<&-
  exec {errors}>&-
  await
  judge "$code"
  code=$(stopped $?)
  kill -KILL "$ear" 2>/dev/null  # a stray process of the job may hold the launcher's standard error
  exec {facts}<&-
  return "$code"
}

# The exit code that CODE, the launcher's own, and the facts come to, with a line of ours where the ranks have not said why themselves.
judge() {
  local code=$1 fact rest patience=3 crash='' killed='' late='' exit='' from='' aborted='' gone='' lost='' refused='' over='' after=''
  # A stray process that holds the launcher's standard error must not hold this up for longer; if the clock has ended the launcher, all has been said.
  [ "$code" != 137 ] || patience=1
  while read -rt "$patience" -u "$facts" fact rest; do
    case $fact in
      signal)
        if [[ $rest =~ ^[^\ ]+\ [^\ ]+\ (4 |6 |8 |11 |Illegal|Aborted|Floating|Segmentation) ]]; then
          crash=${crash:-$rest}
        elif [ -z "$over" ]; then
          killed=${killed:-$rest}
        else
          late=${late:-$rest}  # because another had failed, if that explains the code
        fi ;;
      exit)
        over=yes from=${from:-rank ${rest% *}}
        case ${rest#* } in
          75) aborted=${aborted:-75} gone=yes ;;
          0 | 14 | 85) ;;  # not a cause either: 14 is what MPI 5 itself ends a rank with where another has failed
          *) [ "${rest#* }" -gt 128 ] || exit=${exit:-${rest#* }} ;;
        esac ;;
      abort) over=yes aborted=${aborted:-$rest} gone=yes ;;
      lost) [ -n "$over" ] && after=yes || lost=$rest ;;
      *) declare "$fact=yes" ;;
    esac
  done
  # A host that is lost when the job is over is no cause: mpirun says so of some that have just ended. Nor is 137 one, if it comes of the clock.
  if { [ -n "$after" ] && [ "$code" -gt 128 ]; } || { [ -n "$gone" ] && [ "$code" = 137 ]; }; then code=75; fi
  if [ "$code" = 14 ] || [ "$code" -gt 128 ]; then killed=${killed:-$late}; fi
  if [ -n "$crash" ]; then
    ended_by $crash
  elif [ -n "$lost" ]; then
    say "$lost does not answer. Start the job again: what is sealed is kept"
    return 75
  elif [ "$code" = 0 ]; then
    return 0
  elif [ -z "$killed$aborted" ] && { { [ -n "$refused" ] && [[ $exit =~ ^(2|13|)$ && ! $code =~ ^(65|70|74|75|85)$ ]]; } ||
                                     { [ "$code" -gt 159 ] && [ -z "$exit" ]; }; }; then
    [ -z "$stopping" ] || return 75  # a stop that came while it started the ranks
    say "$launcher did not start the job (exit code $code)${refused:+, for the reason above}. The same line would fail again"
    return 2
  elif [ -n "$exit" ]; then
    return "$exit"
  elif [ -n "$killed" ]; then
    ended_by $killed
  elif [ -n "$aborted" ]; then
    return "$aborted"
  elif [ "$code" -gt 128 ]; then
    [ "$code$from" != 137 ] || from="a rank, or ${launcher} because a host does not answer,"
    ended_by "${from:-a rank}" '' "$((code - 128)) ($(kill -l $((code - 128))))"
  elif [ "$code" = 14 ]; then
    say "the ranks have lost another rank, or $launcher. Start the job again: what is sealed is kept"
    return 75
  else
    return "$code"
  fi
}

# ended_by RANK HOST SIGNAL...
ended_by() {
  local who="$1" signal="${*:3}"
  [[ $who == *rank* ]] || who="rank $1 on $2"
  [[ $signal == [0-9]* ]] || signal="($signal)"
  if [[ $signal =~ ^(4|6|8|11)\ |Illegal|Aborted|Floating|Segmentation ]]; then
    say "$who was ended by signal $signal: a bug, please report it"
    return 70
  elif [[ $signal =~ ^13\ |Broken ]]; then  # as MPI 5 has it where the kernel refuses to run the program
    say "$who was ended by signal $signal: is the program one that can be started? The same line would fail again"
    return 2
  fi
  # A rank that had no handler yet when it was asked to stop has not failed.
  [ -n "$stopping" ] || say "$who was ended by signal $signal. Start the job again: what is sealed is kept"
  return 75
}
