#!/usr/bin/env bash
# mpirun for one workstation or one container: more ranks than cores are allowed, root is allowed, and ranks are not tied to cores
# (mpirun ties each to one core by default, and all threads of a rank would then share it). One thread a rank unless OMP_NUM_THREADS is set.
# usage: launch/mpirun.sh MPIRUN-OPTIONS... PROGRAM ARGUMENTS...
#
# Options given here win over the script's own, and the last one where one is given twice.
# MPIRUN_PLACEMENT  options instead of "--bind-to none --oversubscribe"; launch/job.sh and slurm/ set it
# STOP_SIGNAL       the configuration's stop_signal (USR2)
# STOP_SIGNAL, TERM, INT or HUP sent to this script make the ranks save their state and end with 85. A second INT or TERM, or QUIT, ends them at once.
# Exit code: the ranks'. Where a signal ended a rank, one line names it and its host, and the code is 70 for a crash (a bug), 75 for any other signal (out of
# memory, say); 75 too where a host was lost, 2 where mpirun could not start the ranks. After 75 another try is worth it. Of a rank that dies in its first
# moments mpirun tells the code alone (128 + the signal), not which it was. launch/README.md has the contract and what differs between versions.
set -uo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/signals.bash" && . "$here/said.bash" || exit
say() { printf 'mpirun.sh: %s\n' "$*" >&2; }

# The environment may say otherwise in all of these.
default() { [ -n "${!1:-}" ] || export "$1=$2"; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
default OMP_NUM_THREADS 1
# Idle ranks yield their core: with more ranks than cores a spinning rank would starve the one it waits for.
default OMPI_MCA_mpi_yield_when_idle 1
# Through netlink OpenMPI 5 finds no way between addresses of IPv6, and says so once per rank.
default OMPI_MCA_reachable ^netlink
# Where another rank has died, a rank of OpenMPI 5 would end on the spot, and mpirun would name this one instead of the other.
default OMPI_MCA_mpi_ft_enable 1
# Where the network between hosts is gone, mpirun and its daemons there notice after 5 minutes (their own default: 8), as long as comm.deadline is by default:
# ranks go on if it comes back sooner.
default OMPI_MCA_oob_tcp_keepalive_time 240
default OMPI_MCA_oob_tcp_keepalive_intvl 15
default OMPI_MCA_oob_tcp_keepalive_probes 4
# The daemons of OpenMPI 5 have names of their own for their settings.
for name in oob_tcp_if_include:prte_if_include oob_tcp_if_exclude:prte_if_exclude plm_rsh_agent:plm_ssh_agent oob_tcp_keepalive_{time,intvl,probes}; do
  from=OMPI_MCA_${name%:*}
  [ -z "${!from:-}" ] || default "PRTE_MCA_${name#*:}" "${!from}"
done

# Version 5 refuses --bind-to and --map-by a second time, and takes the first of several -np; version 4.1 takes the last of each.
declare -A last=()
options=()
read_options() {
  while [[ ${1:-} == -?* ]]; do
    local name=${1#-} words=1
    name=${name#-}
    case $name in
      n | np | c | map-by | bind-to | rank-by | ppr | N | npernode | npersocket | cpus-per-proc | cpus-per-rank | cpu-set | cpu-list | rf | rankfile | \
        H | host | hostfile | machinefile | default-hostfile | add-host | add-hostfile | x | wd | wdir | path | prefix | tmpdir | am | tune | app | \
        launch-agent | max-vm-size | ompi-server | hnp | dvm | personality | pset | preload-files | stdin | output | output-filename | display | xterm | \
        timeout | spawn-timeout | runtime-options | report-events | report-pid | report-uri | forward-signals | xml-file | max-restarts) words=2 ;;
      mca | gmca | omca | prtemca | gprtemca | pmixmca | gpmixmca) words=3 ;;
    esac
    [ $# -ge "$words" ] || break
    case $name in
      n | np | c) last[np]=$2 ;;
      map-by | bind-to) last[$name]=$2 ;;
      *) options+=("${@:1:words}") ;;
    esac
    shift "$words"
  done
  program=("$@")
}
read_options ${MPIRUN_PLACEMENT:-}
placed=${last[map-by]:-}
read_options "$@"
if [ -z "${MPIRUN_PLACEMENT:-}" ]; then
  [[ ${last[map-by]:-} == *[Pp][Ee]=* ]] || : "${last[bind-to]:=none}"
  [[ "${options[*]} ${last[map-by]:-}" == *[Nn][Oo][Oo][Vv][Ee][Rr]* ]] || options+=(--oversubscribe)
elif [ "${last[map-by]:-}" = "$placed" ]; then
  # A number of ranks given here is not that of the placement, and ranks that are not tied to cores have no number of them (version 5 refuses it).
  [ -z "${last[np]:-}" ] || last[map-by]=${last[map-by]/ppr:*:node/slot}
  [[ ${last[bind-to]:-core} =~ ^(core|hwthread) ]] || last[map-by]=${last[map-by]%:PE=*}
fi
for name in "${!last[@]}"; do [ -z "${last[$name]}" ] || options+=("--$name" "${last[$name]}"); done

# A killed mpirun of version 5 leaves a folder with its process id in /tmp, and another that has this id does not start.
scratch=$(mktemp -d) && default PRTE_MCA_prte_local_tmpdir_base "$scratch"
stop_on="HUP INT TERM $stop_signal" hard=end_launcher silent_on=$stop_signal
hear mpirun "${options[@]}" "${program[@]}"
rm -rf "$scratch"
exit "$code"
