#!/usr/bin/env bash
# Diffusion on this machine's GPU: parity with the CPU, images/s and TFLOP/s of img2img without and with CUDA graphs, where the time goes, and diffusers eager
# and compiled beside it where it is installed. One table last; a step that fails is a row of it, and the exit code is 1. Without a GPU nothing is run.
# State of proof: all but the GPU itself was run (--device cpu); nobody has run it on a GPU yet.
#
# usage: launch/gpu_check.sh [--device cuda|cpu]      cpu: the same steps with a small model, which tries this script
# usage: launch/gpu_check.sh --bundle FILE.tar.gz     packs it with the program and its libraries (not LibTorch's, CUDA's, glibc's, GCC's), for a machine
#                                                     that has a GPU and LibTorch but not what building needs
# Programs: SYNCDR_BIN, bin/ beside this script (a bundle), or build/release/bin (cmake --build build/release --target gpu_img2img).
# Needs 2.2 GB in TMPDIR and about 6 GB of memory: Stable Diffusion 1.5's sizes with random weights, written and read. A step may take half an hour.
# LibTorch: LIBTORCH, Torch_DIR, the torch that PYTHON (python3) would import, or launch/setup.sh's; of the version the program was built with.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
max_bundle=$((64 << 20)) step_limit=1800

say() { printf 'gpu_check: %s\n' "$*"; }
fail() { printf 'gpu_check: %s\n' "$*" >&2; exit 1; }

first() {  # TEST PATH...: the first path of which `[ TEST PATH ]` holds
  local path
  for path in "${@:2}"; do
    if [ "$1" "$path" ]; then echo "$path"; return; fi
  done
  return 1
}

find_python() {  # one that has torch, if there is one
  local python
  for python in "${PYTHON:-python3}" "${SYNCDR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/syncdr}"/torch-*/bin/python; do
    if [ -n "$(torch_of "$python")" ]; then echo "$python"; return; fi
  done
}

torch_of() {  # the folder of a Python's torch, without the seconds of importing it
  "$1" -c 'import importlib.util as u; found = u.find_spec("torch"); print(found.submodule_search_locations[0] if found else "")' 2>/dev/null || true
}

find_torch() {
  local torch=${LIBTORCH:-} package=${Torch_DIR:-${TORCH_DIR:-}}
  [ -n "$torch" ] || [ -z "$package" ] || torch=$package/../../..
  [ -n "$torch" ] || [ -z "$python" ] || torch=$(torch_of "$python")
  [ -f "$torch/lib/libtorch_cpu.so" ] || fail "no LibTorch. Point LIBTORCH to its folder, or PYTHON to a Python that has torch"
  (cd "$torch" && pwd)
}

library_path() {  # of LibTorch, and of CUDA where a wheel brings it
  local folder path=
  for folder in "$here/lib" "$torch/lib" "$torch"/../nvidia/*/lib; do
    [ ! -d "$folder" ] || path=$path${path:+:}$(cd "$folder" && pwd)
  done
  echo "$path"
}

bundle() {
  local name=syncdr-gpu-check needs there='^(ld-linux.*|lib(c|m|mvec|pthread|rt|dl|util|resolv|anl|nsl|nss_.*|gcc_s|stdc\+\+))\.so' library path size
  mkdir -p "$work/$name/bin" "$work/$name/lib"
  cp "$here/gpu_check.sh" "$script" "$work/$name"
  strip -o "$work/$name/bin/gpu_img2img" "$program"
  ! LD_LIBRARY_PATH=$(library_path) ldd "$program" | grep 'not found' >&2 || fail "$program lacks libraries (above): it cannot be packed"
  while read -r library path; do
    case $(readlink -f "$path") in "$(readlink -f "$torch")"/* | "$(readlink -f "$torch/..")"/nvidia/*) continue ;; esac
    [[ $library =~ $there ]] || strip -o "$work/$name/lib/$library" "$path" 2>/dev/null || cp -L "$path" "$work/$name/lib/$library"
  done < <(LD_LIBRARY_PATH=$(library_path) ldd "$program" | awk '$2 == "=>" { print $1, $3 }')
  tar -C "$work" -czf "$work/bundle" "$name"
  size=$(stat -c %s "$work/bundle")
  if [ "$size" -ge "$max_bundle" ]; then
    du -a "$work/$name" | sort -rn | head -n 8 >&2
    fail "the bundle would have $size bytes, the limit is $max_bundle; its largest files are above, in KB"
  fi
  mv "$work/bundle" "$1"
  needs=$(find "$work/$name/bin" "$work/$name/lib" -type f -exec objdump -T {} + 2>/dev/null | grep -o 'GLIBC_2\.[0-9]*' | sort -Vu | tail -n 1)
  say "$1: $size bytes, $(find "$work/$name/lib" -type f | wc -l) libraries; needs ${needs/_/ }, libstdc++ as here, and LibTorch of the same version"
  say "there: tar xzf $(basename "$1") && $name/gpu_check.sh"
}

step() {  # NAME COMMAND...: its rows are kept; one that ends badly without saying so in a row is given one
  local name=$1 code=0
  shift
  say "$name"
  timeout "$step_limit" "$@" 2>"$work/errors" | tee "$work/said" | grep --line-buffered '^{"row"' | tee -a "$work/rows" || code=${PIPESTATUS[0]}
  [ "$code" -ne 0 ] || return 0
  failed=1
  cat "$work/errors" >&2
  grep -q '"ok": \?false' "$work/said" ||
    printf '{"row":"%s","figure":"exit code %s: %s","ok":false}\n' "$name" "$code" "$(tail -n 1 "$work/errors" | tr '"\\' "''" | cut -c 1-140)" >>"$work/rows"
}

table() {
  printf '\n%s\n' "$1"
  sed -E "s/\\\\\"/'/g; s/^\\{\"row\": ?\"([^\"]*)\", ?\"figure\": ?\"([^\"]*)\", ?\"ok\": ?(true|false).*/\\1\\t\\3\\t\\2/" "$work/rows" |
    awk -F '\t' '{ printf "%-48s %-7s %s\n", $1, $2 == "true" ? "" : "FAILED", $3 }'
}

device=cuda bundle_file=
while [ $# -gt 0 ]; do
  case "$1" in
    --bundle) bundle_file=${2:?--bundle needs a file}; shift 2 ;;
    --device) device=${2:?--device needs cuda or cpu}; shift 2 ;;
    *) sed -n 's/^# usage: /usage: /p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
if [ -z "$bundle_file" ] && [ "$device" != cpu ] && ! nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then say "no GPU here: nothing was run"; exit 0; fi

program=$(first -x ${SYNCDR_BIN:+"$SYNCDR_BIN/gpu_img2img"} "$here/bin/gpu_img2img" "$here/../build/release/bin/gpu_img2img") ||
  fail "no gpu_img2img in SYNCDR_BIN, bin/ or build/release/bin. Build it: cmake --build build/release --target gpu_img2img"
script=$(first -f "$here/gpu_img2img_diffusers.py" "$here/../tests/bench/diffusion/gpu_img2img_diffusers.py") || true
python=$(find_python)
torch=$(find_torch)
work=$(mktemp -d "${TMPDIR:-/tmp}/syncdr-gpu-check-XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ -n "$bundle_file" ]; then bundle "$bundle_file"; exit 0; fi

failed=0 small=() ways=() machine="CPU, small model"
if [ "$device" = cpu ]; then
  small=(--small --rounds 1 --batches 1,2) ways=(--ways eager)  # compiling for a CPU takes minutes
else
  machine=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)
fi
: >"$work/rows"
ours=(env LD_LIBRARY_PATH="$(library_path)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$program")
step start "${ours[@]}" start --device "$device"
step parity "${ours[@]}" parity --device "$device"
step speed "${ours[@]}" speed --device "$device" "${small[@]}"
if [ -n "$python" ]; then
  step diffusers "$python" "$script" --device "$device" "${small[@]}" "${ways[@]}"
else
  printf '{"row":"diffusers","figure":"not measured: no Python with torch","ok":true}\n' >>"$work/rows"
fi
table "$machine, LibTorch of $torch"
exit "$failed"
