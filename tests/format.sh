#!/usr/bin/env bash
# Whether all C++ is formatted as .clang-format says. usage: tests/format.sh [--fix]      --fix formats it
# CLANG_FORMAT names the program; without it the one that launch/setup.sh --tests installs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=${SYNCDR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/syncdr}
program=${CLANG_FORMAT:-$(ls "$cache"/torch-*/bin/clang-format 2>/dev/null | tail -n 1)}
wanted=$(sed -n 's/^clang-format==//p' tests/parity/requirements.txt)
found=$("${program:-clang-format}" --version 2>/dev/null) || found=none
[[ $found == *" $wanted"* ]] || { echo "format: clang-format $wanted is needed (found: $found); launch/setup.sh --tests installs it" >&2; exit 2; }
sources() { find src include data_tools tests -name '*.cpp' -o -name '*.h' -o -name '*.cu'; }
case ${1:-} in
  --fix) sources | xargs "$program" -i ;;
  '')
    differ=$(sources | xargs "$program" --dry-run 2>&1 | sed -n 's/:[0-9]*:[0-9]*: .*clang-formatted.*//p' | sort -u)
    [ -z "$differ" ] || { printf '%s\n' "$differ" "format: these files are formatted otherwise; tests/format.sh --fix mends them" >&2; exit 1; }
    ;;
  *) sed -n 's/^# .*usage: /usage: /p' "$0" >&2; exit 2 ;;
esac
