#!/usr/bin/env bash
# How far more nodes and ranks help: runs one phase of a configuration on each number of nodes and of ranks per node, one job after the other (they share
# the file system), each in a run folder of its own so that nothing is skipped; collects scaling.csv and draws scaling.svg.
# usage: slurm/scaling.sh CONFIG --phase translate|train [OPTIONS] [--set KEY=VALUE ...] [-- SBATCH OPTIONS]
#   --nodes LIST       numbers of nodes ("1 2 4")
#   --ranks LIST       ranks per node ("1")
#   --cpus N           cores per rank (1)
#   --gpus             a GPU for each rank
#   --arm ARM          train: the arm, or a translated set of the dataset (cds: real images alone)
#   --out DIR          folder of the figures (runs/scaling-PHASE-TIME)
#   --dry-run          print the sbatch lines, submit nothing
# usage: slurm/scaling.sh --collect DIR      the figures of the jobs that are through, where the first call was not left to wait for all
# Take a share of work that the largest number of ranks is busy with for some minutes: a small dataset, or --set train.epochs=2. The others are compared
# with the smallest job. Translating with CUT needs --set translate.cut.weights=FILE, or the fit of an earlier run of CONFIG, which is used.
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export SYNCDR_HOME=$home
syncdr=${SYNCDR_BIN:-$home/build/release/bin}/syncdr

fail() { printf 'scaling.sh: %s\n' "$1" >&2; exit "${2:-2}"; }
usage() { sed -n '/^# usage/,/^# with the/ s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
collect() { python3 "$home/slurm/scaling_plot.py" "$1"; }

config='' phase='' nodes_list='1 2 4' ranks_list=1 cpus=1 gpus='' arm=cds out='' dry='' settings=() options=()
while [ $# -gt 0 ]; do
  case $1 in
    --collect) collect "${2:?--collect needs a folder}"; exit ;;
    --phase) phase=${2:-}; shift 2 ;;
    --nodes) nodes_list=${2:-}; shift 2 ;;
    --ranks) ranks_list=${2:-}; shift 2 ;;
    --cpus) cpus=${2:-}; shift 2 ;;
    --gpus) gpus=yes; shift ;;
    --arm) arm=${2:?--arm needs a name}; shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --set) settings+=(--set "${2:?--set needs KEY=VALUE}"); shift 2 ;;
    --dry-run) dry=yes; shift ;;
    --) shift; options=("$@"); break ;;
    -*) usage ;;
    *) [ -z "$config" ] || usage; config=$1; shift ;;
  esac
done
[ -n "$config" ] || usage
[[ $phase =~ ^(translate|train)$ ]] || fail "--phase is \"$phase\", not translate or train"
[[ "$nodes_list $ranks_list $cpus" =~ ^[1-9][0-9]*( +[1-9][0-9]*)*$ ]] || fail "--nodes, --ranks and --cpus are numbers from 1"
jobs=$("$syncdr" jobs "$config" "${settings[@]}") || exit
IFS=$'\t' read -r _ _ _ _ fitted _ <<<"$jobs"  # the run folder
fitted+=/fit
name=scaling-$phase-$(date +%Y%m%d-%H%M%S)
out=${out:-runs/$name}

submitted=() after=()
for nodes in $nodes_list; do
  for ranks in $ranks_list; do
    place=$out/$name-${nodes}x$ranks  # the folder's name is also that of the translated set
    line=(sbatch --parsable --job-name="$name-${nodes}x$ranks" --output="$place.log" --nodes="$nodes" --ntasks-per-node="$ranks" --cpus-per-task="$cpus"
          "${after[@]}")
    [ -z "$gpus" ] || line+=(--gpus-per-node="$ranks")
    line+=("${options[@]}" "$home/slurm/phase.sbatch" "$phase" "$config" "${settings[@]}" --set "run.out=$place" --json "$place.json")
    if [ "$phase" = translate ]; then line+=(--set "translate.run="); else line+=(--arm "$arm"); fi
    if [ -n "$dry" ]; then
      printf '%q ' "${line[@]}" && echo
      continue
    fi
    mkdir -p "$place"
    [ "$phase" = train ] || [ ! -d "$fitted" ] || ln -sfn "$(cd "$fitted" && pwd)" "$place/fit"
    printf '{"phase": "%s", "nodes": %d, "ranks_per_node": %d}\n' "$phase" "$nodes" "$ranks" >"$place.job"
    job=$("${line[@]}") || { [ "${#submitted[@]}" -eq 0 ] || scancel "${submitted[@]}"; fail "sbatch refused a job (above); nothing is left in the queue" 1; }
    submitted+=("${job%%;*}")
    after=(--dependency="afterany:${job%%;*}")
    printf 'job %s: %d nodes, %d ranks per node\n' "${job%%;*}" "$nodes" "$ranks"
  done
done
[ -z "$dry" ] || exit 0

printf 'waiting for them (left with Ctrl-C, they go on; then: slurm/scaling.sh --collect %s)\n' "$out"
jobs=$(IFS=,; echo "${submitted[*]}")
while [ -n "$(squeue --noheader --jobs="$jobs" 2>/dev/null)" ]; do sleep "${SCALING_POLL:-10}"; done
collect "$out"
[ "$phase" = train ] || printf 'the translated sets %s-* may be removed from the dataset\n' "$name"
