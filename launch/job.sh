#!/usr/bin/env bash
# A job on this workstation or on a list of hosts, without a scheduler: as slurm/job.bash does it on a cluster. Ranks are tied to their cores; a stop
# signal is handed on; what failed because of a peer or a deadline (75) is tried again and goes on where it stood.
# usage: launch/job.sh [OPTIONS] [--] syncdr COMMAND ARGUMENTS...
#   --ranks N         ranks per host (1; with --gpus: one per GPU)
#   --gpus N          GPUs per host: a rank for each; where a host has more, CUDA_VISIBLE_DEVICES chooses
#   --cpus N          cores per rank (this host's cores shared among its ranks)
#   --hosts FILE      a host a line, as in mpirun's host files; ssh must reach each without a password, and the folder of syncdr, the data and the run
#                     folder must have the same path on all (a shared file system)
#   --interface NAME  network the hosts talk over, a name (ib0) or a subnet (10.1.0.0/16), where the first that MPI finds is not the right one
#   --tries N         how often it may fail with 75 before it gives up (3)
#   --log FILE        append what is said to a file as well
# USR2 (STOP_SIGNAL), TERM, INT or HUP sent to this script make the job save its state and end with 85; the same line goes on. A second INT or TERM, or
# QUIT, ends it at once.
# Exit code: the job's.
set -uo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$home/launch/signals.bash" || exit

fail() { printf 'job.sh: %s\n' "$*" >&2; exit 2; }
say() { printf '%(%T)T job.sh: %s\n' -1 "$*" >&2; }
usage() { sed -n '/^# usage/,/^# Exit/ s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
number() { [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "$1 needs a number from 1, not \"$2\""; }

ranks='' gpus='' cpus='' hosts='' interface='' tries=3 log=''
while [ $# -gt 0 ]; do
  case $1 in
    --ranks | --gpus | --cpus | --tries) number "$1" "${2:-}"; declare "${1#--}=$2"; shift 2 ;;
    --hosts) hosts=${2:?--hosts needs a file}; shift 2 ;;
    --interface) interface=${2:?--interface needs a name}; shift 2 ;;
    --log) log=${2:?--log needs a file}; shift 2 ;;
    --) shift; break ;;
    -*) usage ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || usage
[ -z "$hosts" ] || [ -r "$hosts" ] || fail "$hosts cannot be read"
command=("$@")
# "syncdr" alone is the one built here.
if [ "${command[0]}" = syncdr ]; then
  command[0]=${SYNCDR_BIN:-$home/build/release/bin}/syncdr
  [ -x "${command[0]}" ] || fail "${command[0]} is not there. Build it (launch/build.sh), or name its folder in SYNCDR_BIN"
fi

ranks=${ranks:-${gpus:-1}}
available=$(lscpu --parse=core,socket --online 2>/dev/null | grep -v '^#' | sort -u | wc -l)
[ "$available" -gt 0 ] || available=$(nproc)
cpus=${cpus:-$((available / ranks > 0 ? available / ranks : 1))}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cpus}
# A rank is tied to its cores, neighbouring ranks to neighbouring cores; the program gives rank i of a host its GPU i. Where ranks outnumber the
# cores of this workstation, nothing is tied and idle ranks yield, as launch/mpirun.sh does it by itself.
launch=("$home/launch/mpirun.sh")
if [ -n "$hosts" ] || [ $((ranks * cpus)) -le "$available" ]; then
  export MPIRUN_PLACEMENT="--map-by ppr:$ranks:node:PE=$cpus --bind-to core" OMPI_MCA_mpi_yield_when_idle=0
else
  launch+=(-np "$ranks")
fi
if [ -n "$hosts" ]; then
  # Environment goes to this host's ranks by itself, to others' by name only.
  launch+=(--hostfile "$hosts" -x OMP_NUM_THREADS)
  for name in PATH LD_LIBRARY_PATH CUDA_VISIBLE_DEVICES SYNCDR_STORE_HOST; do [ -z "${!name:-}" ] || launch+=(-x "$name"); done
fi
if [ -n "$interface" ]; then
  # For MPI's own messages, for NCCL, and for mpirun's daemons: those of OpenMPI 5 refuse loopback.
  launch+=(--mca btl_tcp_if_include "$interface")
  [ -z "$hosts" ] || launch+=(--mca oob_tcp_if_include "$interface")
  [[ $interface == */* ]] || export NCCL_SOCKET_IFNAME=$interface
  [ -z "$hosts" ] || [ -z "${NCCL_SOCKET_IFNAME:-}" ] || launch+=(-x NCCL_SOCKET_IFNAME)
fi
[ -z "$log" ] || exec > >(tee -a "$log") 2> >(tee -a "$log" >&2)

stop_on="TERM INT HUP $stop_signal" hard="hand_on QUIT"
for ((try = 1;; ++try)); do
  follow "${launch[@]}" "${command[@]}"
  [ "$code" = 75 ] || exit "$code"
  if [ "$try" -ge "$tries" ]; then say "exit code 75, try $try of $tries: giving up. The same line goes on where it stood"; exit 75; fi
  say "exit code 75, try $try of $tries: again in 5 s"
  for _ in {1..50}; do sleep 0.1; [ -z "$stopping" ] || exit 85; done
done
