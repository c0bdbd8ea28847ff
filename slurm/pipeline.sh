#!/usr/bin/env bash
# Submits the whole job as a chain: fit translators -> translate -> train every arm -> evaluate and report. Each step is a job of its own size that
# waits for those it needs, goes back to the queue by itself when it is stopped, and skips what is done: the same line again finishes what is missing.
# usage: slurm/pipeline.sh CONFIG [OPTIONS] [--set KEY=VALUE ...] [-- SBATCH OPTIONS]
#   --nodes N            nodes of each job (1); --nodes-fit, --nodes-translate, --nodes-train: of these alone
#   --ranks N            ranks per node (1; with --gpus: one per GPU); a training gets no more than its batch has images
#   --cpus N             cores per rank (1)
#   --gpus N             GPUs per node (none)
#   --array N            each translation as N jobs of --nodes-translate nodes, which share the work and may start when they can (1)
#   --logs DIR           where the jobs' logs go (RUN FOLDER/slurm)
#   --dry-run            print the sbatch lines, submit nothing
# After -- stands what every job gets: -- --partition=gpu --account=me --time=4:00:00. LAUNCHER, TRIES and others: see job.bash.
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export SYNCDR_HOME=$home
syncdr=${SYNCDR_BIN:-$home/build/release/bin}/syncdr

fail() { printf 'pipeline.sh: %s\n' "$1" >&2; exit "${2:-2}"; }
usage() { sed -n '/^# usage/,/^# After/ s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
number() { [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "$1 needs a number from 1, not \"$2\""; }

config='' nodes=1 ranks='' cpus=1 gpus='' array='' logs='' dry='' settings=() options=()
declare -A nodes_of=()
while [ $# -gt 0 ]; do
  case $1 in
    --nodes | --ranks | --cpus | --gpus | --array) number "$1" "${2:-}"; declare "${1#--}=$2"; shift 2 ;;
    --nodes-fit | --nodes-translate | --nodes-train) number "$1" "${2:-}"; nodes_of[${1#--nodes-}]=$2; shift 2 ;;
    --logs) logs=${2:?--logs needs a folder}; shift 2 ;;
    --set) settings+=(--set "${2:?--set needs KEY=VALUE}"); shift 2 ;;
    --dry-run) dry=yes; shift ;;
    --) shift; options=("$@"); break ;;
    -*) usage ;;
    *) [ -z "$config" ] || usage; config=$1; shift ;;
  esac
done
[ -n "$config" ] || usage
[ -x "$syncdr" ] || fail "$syncdr is not there. Build it (launch/build.sh), or name its folder in SYNCDR_BIN"

# The program says which jobs there are, a line each; it refuses here, before anything is queued, a configuration that is wrong.
jobs=$("$syncdr" jobs "$config" "${settings[@]}") || exit
nodes_of[run]=${nodes_of[train]:-$nodes}
submitted=()
declare -A id_of=()
while IFS=$'\t' read -r name phase needs most out arguments_text; do
  IFS=$'\t' read -ra arguments <<<"$arguments_text"
  logs=${logs:-$out/slurm} after=''
  if [ "$needs" != - ]; then
    IFS=, read -ra needed <<<"$needs"
    for need in "${needed[@]}"; do after+=${after:+:}${id_of[$need]}; done
  fi
  count=${nodes_of[$phase]:-$nodes} each=${ranks:-${gpus:-1}} with=$gpus
  if [ "$most" != - ] && [ $((count * each)) -gt "$most" ]; then
    [ "$count" -le "$most" ] || count=$most
    each=$((most / count))
    [ "${with:-0}" -le "$each" ] || with=$each
  fi
  line=(sbatch --parsable --job-name="syncdr-$name" --output="$logs/%x-%j.log" --nodes="$count" --ntasks-per-node="$each" --cpus-per-task="$cpus")
  [ -z "$with" ] || line+=(--gpus-per-node="$with")
  [ "$phase" != translate ] || [ -z "$array" ] || line+=(--array="1-$array")
  # A job whose predecessor gave up would wait for ever: it is removed instead.
  [ -z "$after" ] || line+=(--dependency="afterok:$after" --kill-on-invalid-dep=yes)
  line+=("${options[@]}" "$home/slurm/phase.sbatch" "$phase" "${arguments[@]}")
  if [ -n "$dry" ]; then
    id_of[$name]="<$name>"
    printf '%q ' "${line[@]}" && echo
    continue
  fi
  mkdir -p "$logs"
  id=$("${line[@]}") || { [ "${#submitted[@]}" -eq 0 ] || scancel "${submitted[@]}"; fail "sbatch refused a job (above); nothing is left in the queue" 1; }
  id=${id%%;*}
  id_of[$name]=$id submitted+=("$id")
  printf '%-10s %-28s %s\n' "$id" "syncdr-$name" "${after:+after ${after//:/, }}"
done <<<"$jobs"
[ -n "$dry" ] || printf 'logs: %s; at the end: %s/report.html\nto remove all: scancel %s\n' "$logs" "$out" "${submitted[*]}"
