#!/usr/bin/env bash
# translate_killed.sh MPIRUN PROGRAM: a translation that is killed again and again, at moments that differ with every run of this test, and then run to
# its end holds the bytes of one that nobody disturbed; and whatever a killed run leaves under a unit's name is whole.
set -uo pipefail
mpirun=$1 program=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run=synthetic/Photo-to-Drawing/noisy

fail() {
  echo "FAILED: $*" >&2
  [ -f "$folder/log" ] && tail -n 40 "$folder/log" >&2
  exit 1
}
# job CODES RANKS MODE DATA ...: runs it; its exit code must be one of CODES
job() {
  local codes=$1 ranks=$2
  shift 2
  timeout -k 1 60 "$mpirun" -np "$ranks" "$program" "$@" >"$folder/log" 2>&1
  code=$?
  [[ " $codes " == *" $code "* ]] || fail "\"$*\" on $ranks ranks: exit code $code, expected one of $codes"
}
expect_sealed_units_whole() {
  for unit in "$1/$run"/unit-*.h5; do
    [ -e "$unit" ] || continue
    cmp -s "$unit" "$folder/whole/$run/${unit##*/}" || fail "$2 left a broken ${unit##*/}"
  done
}

"$program" make "$folder/whole" || fail "no data set"
for copy in killed stopped; do cp -r "$folder/whole" "$folder/$copy"; done
job 0 1 run "$folder/whole"

kills=0
for attempt in 1 2 3 4 5 6; do
  micros=$((RANDOM % 25000 + 500))
  job "75 0" 2 kill "$folder/killed" $((attempt % 2)) "$micros"
  [ "$code" = 75 ] && kills=$((kills + 1))
  expect_sealed_units_whole "$folder/killed" "a kill after $micros us"
  echo "killed after $micros us: exit code $code, $(find "$folder/killed/$run" -name 'unit-*.h5' 2>/dev/null | wc -l) units sealed"
done
[ "$kills" -ge 2 ] || fail "only $kills of 6 kills came before the end"
job 0 3 run "$folder/killed"
diff -r "$folder/whole" "$folder/killed" || fail "the run that was killed differs"

job 85 2 stop "$folder/stopped" 1 2
expect_sealed_units_whole "$folder/stopped" "a stop"
[ ! -e "$folder/stopped/$run/translation.json" ] || fail "a stopped run says that it is finished"
[ -z "$(find "$folder/stopped" -name '*.tmp')" ] || fail "a stopped run leaves temporary files"
job 0 1 run "$folder/stopped"
diff -r "$folder/whole" "$folder/stopped" || fail "the run that was stopped differs"
