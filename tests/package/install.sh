#!/usr/bin/env bash
# usage: install.sh BUILD WORK     WORK/moved is the installed tree
set -euo pipefail
build=$1 work=$2
rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/moved"
! grep -rn "$work/first\|$(cd "$build/../.." && pwd)/include" "$work"/moved/lib*/cmake || { echo "the installed package names its build or install folder"; exit 1; }
"$work/moved/bin/syncdr" --version
