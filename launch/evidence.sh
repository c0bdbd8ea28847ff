#!/usr/bin/env bash
# What arms are worth over several seeds: the whole job of a configuration once per seed, and tables of all of them.
# usage: launch/evidence.sh CONFIG [--seeds N] [--prepare CONFIG]... [--out FOLDER] [--set key=value ...]
#   --prepare: a configuration whose translations all seeds share, run once before; CONFIG then names its translated sets as arms
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

config= out= seeds=5
prepare=() settings=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seeds) seeds=${2:?--seeds needs a number}; shift 2 ;;
    --prepare) prepare+=("${2:?--prepare needs a file}"); shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --set) settings+=(--set "${2:?--set needs key=value}"); shift 2 ;;
    -*) sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2 ;;
    *) [ -z "$config" ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }; config=$1; shift ;;
  esac
done
[ -n "$config" ] && [[ $seeds =~ ^[1-9][0-9]*$ ]] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
: "${out:=runs/evidence/$(basename "$config" .toml)}"

syncdr() { launch/mpirun.sh -np "${RANKS:-2}" build/release/bin/syncdr "$@"; }
for before in "${prepare[@]}"; do syncdr run "$before" "${settings[@]}"; done
runs=()
for ((seed = 0; seed < seeds; seed++)); do
  runs+=("$out/seed-$seed")
  [ -e "$out/seed-$seed/hits.json" ] || syncdr run "$config" --set seed=$seed --set run.out="$out/seed-$seed" --set train.kept_folder="$out/features" "${settings[@]}"
done
python3 launch/evidence_table.py "${runs[@]}" | tee "$out/table.md"
