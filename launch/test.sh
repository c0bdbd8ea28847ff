#!/usr/bin/env bash
# Sets up, builds and runs all tests. usage: launch/test.sh [ctest arguments, e.g. -L unit]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
launch/setup.sh --tests
launch/build.sh release
exec ctest --preset release "$@"
