#!/usr/bin/env bash
# expect.sh MPIRUN PROGRAM MODE RANKS CODE [TEXT]: the job must end with CODE within 15 s (a deadline of 2 s, 5 s to name and end it, and the start of
# the job on a busy machine) and print TEXT, an extended regular expression, in exactly one line.
set -uo pipefail
mpirun=$1 program=$2 mode=$3 ranks=$4 code=$5 text=${6:-}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
start=$EPOCHREALTIME
timeout -k 1 60 "$mpirun" -np "$ranks" "$program" "$mode" >"$out" 2>&1
got=$?
milliseconds=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
lines=$([ -z "$text" ] && echo 1 || grep -cE "$text" "$out")
if [ "$got" != "$code" ] || [ "$lines" != 1 ] || [ "$milliseconds" -gt 15000 ]; then
  echo "mode $mode: exit code $got (expected $code), $lines lines with \"$text\" (expected 1), $milliseconds ms. Output:"
  cat "$out"
  exit 1
fi
echo "mode $mode: exit code $got after $milliseconds ms: $(grep -m1 -E "${text:-^}" "$out")"
