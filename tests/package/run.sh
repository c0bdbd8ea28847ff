#!/usr/bin/env bash
# usage: run.sh BUILD CONSUMER WORK
set -euo pipefail
build=$1 consumer=$2 work=$3
rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/moved"
! grep -rn "$work/first\|$(cd "$build/../.." && pwd)/include" "$work"/moved/lib*/cmake || { echo "the installed package names its build or install folder"; exit 1; }
cmake -S "$consumer" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved" >"$work/configure.log" || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/build"
[ "$("$work/build/consumer")" = "6627e8d5 e169c58d bc57ac4c 9b00dbd8" ]
"$work/moved/bin/syncdr" --version
