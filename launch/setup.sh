#!/usr/bin/env bash
# Installs what syncdr needs: Debian or Ubuntu packages, LibTorch (the PyPI wheel), and with --tests the Python originals that the parity
# tests compare against, in two generations. Safe to run again: what is there is checked and kept.
#
# usage: launch/setup.sh [--print] [--tests] [--no-packages]
#   --print         list the Debian packages, a line each, and install nothing
#   --tests         also install what only the tests need (timm, torchvision, h5py, two generations of diffusers and transformers;
#                   SLURM, whose daemons the tests start themselves; a browser)
#   --no-packages   leave the system's packages alone (they come from modules, Spack, ...)
# LibTorch: LIBTORCH (an unpacked LibTorch, or site-packages/torch of a wheel) uses your own; otherwise the
# PyPI wheel is installed in a virtual environment under ${SYNCDR_CACHE:-${XDG_CACHE_HOME:-~/.cache}/syncdr}.
set -euo pipefail

usage() { sed -n '/^# usage/,/^# PyPI/ s/^# //p' "${BASH_SOURCE[0]}"; }

TORCH_VERSION=2.11.0
# LibTorch's CUDA headers include two that no wheel which torch depends on holds: crt/host_defines.h and nv/target. Both are of its CUDA release.
TORCH_PACKAGES=("torch==$TORCH_VERSION" numpy nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85)
TEST_REQUIREMENTS="$(dirname "${BASH_SOURCE[0]}")/../tests/parity/requirements.txt"
NEXT_REQUIREMENTS="$(dirname "${BASH_SOURCE[0]}")/../tests/parity/requirements-next.txt"

print_only=no tests=no packages=yes
for argument in "$@"; do
  case "$argument" in
    --print) print_only=yes ;;
    --tests) tests=yes ;;
    --no-packages) packages=no ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Whether apt could install a package. (`apt-cache show` answers 0 for a name that other packages only mention.)
available() { [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[!\(]* ]]; }

# Boost 1.75 is the first with Boost.JSON. Debian 12's plain libboost-dev is 1.74, so there the versioned packages are named.
boost_packages() {
  local version
  for version in 1.81 1.83 1.88 1.90; do
    if available "libboost-json$version-dev"; then
      printf '%s\n' "libboost$version-dev" "libboost-json$version-dev"
      return
    fi
  done
  printf '%s\n' libboost-dev libboost-json-dev
}

wanted_packages() {
  printf '%s\n' g++ cmake ninja-build pkg-config ccache python3 python3-venv ca-certificates \
    libopenmpi-dev openmpi-bin libhdf5-dev libopencv-core-dev libopencv-imgproc-dev libturbojpeg0-dev libjpeg-dev libspng-dev libwebp-dev libtiff-dev libexif-dev libcpp-httplib-dev \
    libcli11-dev libtomlplusplus-dev libspdlog-dev libfmt-dev libxxhash-dev libfreetype-dev libicu-dev libgtest-dev libgmock-dev \
    libbenchmark-dev fonts-noto-color-emoji fonts-symbola
  boost_packages
  [ "$tests" = no ] || printf '%s\n' slurm-wlm slurm-wlm-basic-plugins munge iproute2
  # Ubuntu has no such package but a snap; there the tests of pages are skipped and say so.
  if [ "$tests" = yes ] && available chromium; then echo chromium; fi
  # mold links this project about four times faster than ld; lld is the next best where mold is not packaged.
  if available mold; then echo mold; else echo lld; fi
}

install_packages() {
  command -v apt-get >/dev/null || fail "this system has no apt-get. Install what launch/setup.sh --print lists, then run with --no-packages."
  local missing=() name
  while read -r name; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$name")
  done < <(wanted_packages)
  if [ "${#missing[@]}" -eq 0 ]; then say "packages: all there"; return; fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "packages are missing (${missing[*]}) and there is neither root nor sudo. Ask an administrator for them, or run with --no-packages."
    as_root=(sudo)
  fi
  say "packages: installing ${missing[*]}"
  local said
  said=$("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" 2>&1) || {
    printf '%s\n' "$said" | tail -n 30 >&2
    fail "apt-get could not install them (above: the end of what it said)"
  }
}

refresh_package_lists() {
  # Without lists apt-cache knows nothing, and every name above would look unavailable.
  if ! available libhdf5-dev; then
    say "packages: fetching the package lists"
    if [ "$(id -u)" -eq 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
  fi
}

install_torch() {
  if [ -n "${LIBTORCH:-${Torch_DIR:-${TORCH_DIR:-}}}" ]; then
    say "LibTorch: your own (${LIBTORCH:-${Torch_DIR:-$TORCH_DIR}})"
    [ "$tests" = no ] || say "tests: the Python originals still need a wheel; installing it beside"
    [ "$tests" = yes ] || return 0
  fi
  local cache=${SYNCDR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/syncdr}
  local venv=$cache/torch-$TORCH_VERSION
  if [ "$(cat "$venv/complete" 2>/dev/null)" != "${TORCH_PACKAGES[*]}" ]; then
    mkdir -p "$cache"
    local room
    room=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
    [ "$room" -ge 12000 ] || fail "$cache has $room MB free, the PyTorch wheel needs 12,000. Point SYNCDR_CACHE to a larger disk."
    say "LibTorch: installing torch==$TORCH_VERSION into $venv (about 5 GB, a few minutes)"
    [ -f "$venv/complete" ] || rm -rf "$venv"
    [ -d "$venv" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${TORCH_PACKAGES[@]}"
    echo "${TORCH_PACKAGES[*]}" >"$venv/complete"
  fi
  if [ "$tests" = yes ] && ! cmp -s "$TEST_REQUIREMENTS" "$venv/tests-complete"; then
    say "tests: installing $(grep -v '^#' "$TEST_REQUIREMENTS" | tr '\n' ' ')"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$TEST_REQUIREMENTS"
    cp "$TEST_REQUIREMENTS" "$venv/tests-complete"
  fi
  if [ "$tests" = yes ] && ! cmp -s "$NEXT_REQUIREMENTS" "$venv-next/complete"; then
    say "tests: installing $(grep -v '^#' "$NEXT_REQUIREMENTS" | tr '\n' ' ')into $venv-next (300 MB)"
    # It finds its own packages first and then those of the other, so that there is one torch.
    "$venv/bin/python" -m venv --clear "$venv-next"
    local site='import sysconfig; print(sysconfig.get_path("purelib"))'
    "$venv/bin/python" -c "$site" >"$("$venv-next/bin/python" -c "$site")/first.pth"
    "$venv-next/bin/python" -m pip install --quiet --disable-pip-version-check -r "$NEXT_REQUIREMENTS"
    cp "$NEXT_REQUIREMENTS" "$venv-next/complete"
  fi
  local found
  found=$("$venv/bin/python" -c 'import importlib.metadata as m; print(m.version("torch"))') || fail "$venv is broken. Remove it and run again."
  case "$found" in "$TORCH_VERSION"*) ;; *) fail "$venv holds torch $found, not $TORCH_VERSION. Remove it and run again." ;; esac
  say "LibTorch: $found in $venv"
}

verify() {
  # name, least version, the command that tells the version
  local name least have
  while read -r name least have; do
    have=$(eval "$have" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+|^[0-9]+$' | head -n 1) || true
    [ -n "$have" ] || fail "$name is missing. Run without --no-packages, or install it and put it on PATH."
    [ "$(printf '%s\n%s\n' "$least" "$have" | sort -V | head -n 1)" = "$least" ] || fail "$name is $have, syncdr needs $least or newer."
    say "$name $have"
  done <<'END'
g++ 12 g++ -dumpfullversion
cmake 3.25 cmake --version
ninja 1.10 ninja --version
mpirun 4.0 mpirun --version
END
}

if [ "$print_only" = yes ]; then wanted_packages; exit 0; fi
if [ "$packages" = yes ]; then
  ! command -v apt-get >/dev/null || refresh_package_lists
  install_packages
fi
install_torch
verify
