#!/usr/bin/env bash
# Gives hostile bytes to every reader of files that come from elsewhere (tests/fuzz), by libFuzzer. usage: launch/fuzz.sh SECONDS [TARGET...]
# Each target runs for so many seconds on a core, with at most 512 MB for a block of memory, 2 GB in all, 10 s for an input of at most 16 KiB. Inputs that led
# somewhere new are kept in build/fuzz/corpus/TARGET, and the next run begins with them; those that ended a target in build/fuzz/crashes. It needs clang with its
# runtime (Debian 12: clang, libclang-rt-14-dev) and what `launch/setup.sh --tests` brings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-}
[[ $seconds =~ ^[0-9]+$ ]] || { echo "usage: launch/fuzz.sh SECONDS [TARGET...]" >&2; exit 2; }
shift
command -v clang++ >/dev/null || { echo "launch/fuzz.sh: there is no clang++. On Debian 12: apt-get install clang libclang-rt-14-dev" >&2; exit 2; }
launch/build.sh fuzz fuzz_targets
cd build/fuzz
ctest -R '^fuzz\.seeds$' >/dev/null
[ $# -gt 0 ] || set -- $(cd fuzz/seeds && ls)
mkdir -p crashes
failed=0
for target in "$@"; do
  mkdir -p "corpus/$target"
  log=corpus/$target.log said=ok
  UBSAN_OPTIONS=print_stacktrace=1 "fuzz/fuzz_$target" "corpus/$target" "fuzz/seeds/$target" -max_total_time="$seconds" -max_len=16384 \
    -malloc_limit_mb=512 -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -artifact_prefix="crashes/$target-" >"$log" 2>&1 || said=FAILED failed=1
  count() { sed -n "s/^stat::$1: *//p" "$log"; }
  printf '%-12s %-6s %12s inputs %8s per second %6s MB\n' "$target" "$said" "$(count number_of_executed_units)" "$(count average_exec_per_sec)" "$(count peak_rss_mb)"
  [ "$said" = ok ] || tail -n 60 "$log"
done
exit "$failed"
