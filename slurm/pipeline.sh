#!/usr/bin/env bash
# Submits the whole job as a chain: fit translators -> translate -> train every arm -> evaluate and report. Each step is a job of its own size that
# waits for those it needs, goes back to the queue by itself when it is stopped, and skips what is done: the same line again finishes what is missing.
# usage: slurm/pipeline.sh CONFIG [OPTIONS] [--set KEY=VALUE ...] [-- SBATCH OPTIONS]
#   --nodes N            nodes of each job (1); --nodes-fit, --nodes-translate, --nodes-train: of these alone
#   --ranks N            ranks a node (1; with --gpus: one a GPU)
#   --cpus N             cores a rank (1)
#   --gpus N             GPUs a node (none)
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
    --nodes | --ranks | --cpus | --gpus | --array | --nodes-fit | --nodes-translate | --nodes-train) number "$1" "${2:-}" ;;&
    --nodes) nodes=$2; shift 2 ;;
    --nodes-*) nodes_of[${1#--nodes-}]=$2; shift 2 ;;
    --ranks) ranks=$2; shift 2 ;;
    --cpus) cpus=$2; shift 2 ;;
    --gpus) gpus=$2; shift 2 ;;
    --array) array=$2; shift 2 ;;
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

# The program resolves the configuration; refuses it here, before anything is queued, if something is wrong with it.
resolved=$("$syncdr" run "$config" "${settings[@]}" --print-config) || exit
# value SECTION KEY: as written there, without quotes
value() {
  awk -v section="[$1]" -v key="$2" \
    '/^\[/ { here = $0 } here == section && $1 == key && $2 == "=" { sub(/^[^=]*= /, ""); gsub(/\047|"/, ""); print; exit }' <<<"$resolved"
}
out=$(value run out)
translator=$(value translate translator)
IFS=', ' read -ra arms <<<"$(value run arms | tr -d '[]')"
logs=${logs:-$out/slurm}

submitted=()
# submit PHASE DEPENDENCIES ARGUMENTS...: job id in $job; dependencies are job ids, separated by colons
submit() {
  local phase=$1 after=$2 line
  shift 2
  line=(sbatch --parsable --job-name="syncdr-$job_name" --output="$logs/%x-%j.log" --nodes="${nodes_of[$phase]:-$nodes}"
        --ntasks-per-node="${ranks:-${gpus:-1}}" --cpus-per-task="$cpus")
  [ -z "$gpus" ] || line+=(--gpus-per-node="$gpus")
  [ "$phase" != translate ] || [ -z "$array" ] || line+=(--array="1-$array")
  # A job whose predecessor gave up would wait for ever: it is removed instead.
  [ -z "$after" ] || line+=(--dependency="afterok:$after" --kill-on-invalid-dep=yes)
  line+=("${options[@]}" "$home/slurm/$phase.sbatch" "$@" "${settings[@]}")
  if [ -n "$dry" ]; then
    job="<$job_name>"
    printf '%q ' "${line[@]}" && echo
    return
  fi
  job=$("${line[@]}") || { [ "${#submitted[@]}" -eq 0 ] || scancel "${submitted[@]}"; fail "sbatch refused a job (above); nothing is left in the queue" 1; }
  job=${job%%;*}
  submitted+=("$job")
  printf '%-10s %-28s %s\n' "$job" "syncdr-$job_name" "${after:+after ${after//:/, }}"
}

[ -n "$dry" ] || mkdir -p "$logs"
declare -A fitted=() translated=()
after_training=''
for arm in "${arms[@]}"; do
  base=${arm%%:*} needs='' kind='' given='' alone=()
  case $base in
    cut) kind=cut given=$(value translate.cut weights) ;;
    img2img | instruct | ddib | structure) kind=diffusion given=$(value translate.diffusion checkpoint) ;;
    filter) kind=none given=- ;;
  esac
  if [ -n "$kind" ] && [ -z "${translated[$base]:-}" ]; then
    if [ -z "$given" ]; then
      if [ -z "${fitted[$kind]:-}" ]; then
        job_name="fit-$kind"
        submit fit '' "$kind" "$config"
        fitted[$kind]=$job
      fi
      needs=${fitted[$kind]}
    fi
    # As `syncdr run` does it: a translator beside the configuration's own has a set of its own name, and one variant where it draws nothing at random.
    if [ "$base" != "$translator" ]; then
      alone=(--set "translate.translator=$base" --set "translate.run=$(basename "$out")-$base")
      case $base in cut | filter | ddib) alone+=(--set translate.variants=1) ;; esac
    fi
    job_name="translate-$base"
    submit translate "$needs" "$config" "${alone[@]}"
    translated[$base]=$job
  fi
  job_name="train-${arm/:/-}"
  submit train "${translated[$base]:-}" "$config" --arm "$arm"
  after_training+=${after_training:+:}$job
done
job_name=run
nodes_of[run]=${nodes_of[train]:-$nodes}
submit run "$after_training" "$config"
[ -n "$dry" ] || printf 'logs: %s; at the end: %s/report.html\nto remove all: scancel %s\n' "$logs" "$out" "${submitted[*]}"
