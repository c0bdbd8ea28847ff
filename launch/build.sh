#!/usr/bin/env bash
# Configures and builds one preset (default: release). usage: launch/build.sh [PRESET] [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:-release}
[ $# -eq 0 ] || shift
cmake --preset "$preset" >"/tmp/syncdr-configure.$$" || { cat "/tmp/syncdr-configure.$$"; rm -f "/tmp/syncdr-configure.$$"; exit 1; }
rm -f "/tmp/syncdr-configure.$$"
# A compiler on a torch source needs about 2 GB: fewer jobs than cores where memory is short.
jobs=$(awk -v cores="$(nproc)" '/MemAvailable/ { fit = int($2 / 2000000); print fit < 1 ? 1 : (fit < cores ? fit : cores) }' /proc/meminfo)
cmake --build --preset "$preset" -j "$jobs" ${1:+--target "$@"}
