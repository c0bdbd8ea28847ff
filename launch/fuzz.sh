#!/usr/bin/env bash
# Gives hostile bytes to every reader of files that come from elsewhere (tests/fuzz), by libFuzzer. usage: launch/fuzz.sh SECONDS [TARGET...]
# Each target runs for so many seconds on a core, with at most 512 MB for a block of memory, 2 GB in all, 10 s for an input of at most 16 KiB. Inputs that led
# somewhere new are kept in build/fuzz/corpus/TARGET, those that ended it in build/fuzz/crashes. It needs clang (Debian: clang, libclang-rt-14-dev), and for the
# first inputs what `launch/setup.sh --tests` brings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-}
[[ $seconds =~ ^[0-9]+$ ]] || { echo "usage: launch/fuzz.sh SECONDS [TARGET...]" >&2; exit 2; }
shift
command -v clang++ >/dev/null || { echo "launch/fuzz.sh: there is no clang++. On Debian: apt-get install clang libclang-rt-14-dev" >&2; exit 2; }
launch/build.sh fuzz fuzz_targets
cd build/fuzz
python=$(sed -n 's/^SYNCDR_PYTHON:FILEPATH=//p' CMakeCache.txt)
"$python" ../../tests/fuzz/seeds.py fuzz/seeds
[ $# -gt 0 ] || set -- $(cd fuzz && ls -d fuzz_*[a-z] | sed s/^fuzz_//)
mkdir -p crashes
failed=0
for target in "$@"; do
  mkdir -p "corpus/$target"
  log=corpus/$target.log
  ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 "fuzz/fuzz_$target" "corpus/$target" "fuzz/seeds/$target" -max_total_time="$seconds" \
    -max_len=16384 -malloc_limit_mb=512 -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -artifact_prefix="crashes/$target-" >"$log" 2>&1 && said=ok || said=FAILED failed=1
  count() { sed -n "s/^stat::$1: *//p" "$log"; }
  printf '%-12s %-6s %12s inputs %8s per second %6s MB\n' "$target" "$said" "$(count number_of_executed_units)" "$(count average_exec_per_sec)" "$(count peak_rss_mb)"
  [ "$said" = ok ] || grep -m 3 -E 'ERROR|SUMMARY|runtime error' "$log" || tail -n 5 "$log"
done
exit "$failed"
