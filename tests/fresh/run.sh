#!/usr/bin/env bash
# The README's two commands on a system that nobody has prepared: makes a minimal Debian with debootstrap, clones the project (its last commit) into it,
# runs them there with empty caches, and prints a table. Outside CI: about an hour on two cores, 25 GB of disk.
# usage: tests/fresh/run.sh bookworm|trixie [FOLDER]     FOLDER keeps the system for a look; without it, it is removed
# Needs root, debootstrap, and Debian's and PyPI's registries. Certificates in /usr/local/share/ca-certificates are taken along, and so are http_proxy,
# https_proxy, DEBIAN_MIRROR, PIP_INDEX_URL.
# Exit code: 0 if both commands end with 0.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

fail() { printf 'fresh: %s\n' "$*" >&2; exit 2; }
case ${1:-} in bookworm | trixie) suite=$1 ;; *) sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2 ;; esac
[ "$(id -u)" = 0 ] || fail "debootstrap, chroot and mount take root"
command -v debootstrap >/dev/null || fail "debootstrap is not there: apt-get install debootstrap"
if [ -z "${SYNCDR_FRESH:-}" ]; then  # namespaces of its own: what is mounted and started here ends with this script
  SYNCDR_FRESH=yes exec unshare --mount --pid --fork --kill-child "$0" "$@"
fi

root=${2:-$(mktemp -d -p "${TMPDIR:-/var/tmp}" syncdr-fresh-XXXXXX)}
mkdir -p "$root"
chmod 755 "$root"  # its / is for all users
[ -z "$(ls -A "$root")" ] || fail "$root is not empty"
if [ $# -lt 2 ]; then trap 'umount -R "$root"/{proc,sys,dev} 2>/dev/null; rm -rf --one-file-system "$root"' EXIT; fi
log=$(mktemp /tmp/fresh-"$suite"-XXXXXX.log)
echo "fresh: $suite in $root; all output: $log"

table=() failed=0
step() {  # NAME COMMAND...
  local name=$1 begun=$SECONDS code=0
  shift
  echo "== $name" >>"$log"
  "$@" >>"$log" 2>&1 </dev/null || code=$?
  [ "$code" = 0 ] || failed=1
  table+=("$(printf '%-22s %6d s  exit %-3d  %s' "$name" $((SECONDS - begun)) "$code" "$(grep -v '^[[:space:]]*$' "$log" | tail -n 1)")")
  printf '%s\n' "${table[-1]}"
  return "$code"
}
make_root() {
  local certificate
  debootstrap --variant=minbase --include=ca-certificates,python3,git "$suite" "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
  for certificate in /usr/local/share/ca-certificates/*.crt; do
    [ ! -e "$certificate" ] || cp "$certificate" "$root/usr/local/share/ca-certificates/"
  done
  chroot "$root" update-ca-certificates
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
  mount --bind "$root" "$root"  # namespaces within take a / that is mounted
  cd "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs sysfs "$root/sys"
  mount --rbind /dev "$root/dev"
  mount --make-rslave "$root/dev"  # or unmounting it here would unmount it everywhere
  git clone --quiet "$project" "$root/root/syncdr"
  git -C "$root/root/syncdr" log -1 --oneline
}
inside() {  # COMMAND, in the clone
  local name keep=()
  for name in http_proxy https_proxy PIP_INDEX_URL; do [ -z "${!name:-}" ] || keep+=("$name=${!name}"); done
  chroot "$root" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt "${keep[@]}" bash -c "cd /root/syncdr && $1"
}

step "debootstrap, clone" make_root || exit 1
step launch/quickstart.sh inside launch/quickstart.sh || true
step launch/test.sh inside launch/test.sh || true
echo
inside '. /etc/os-release; echo "$PRETTY_NAME, $(g++ --version | head -n 1), $(cmake --version | head -n 1), $(mpirun --version 2>&1 | head -n 1), $(slurmctld -V)"' || true
grep -A 12 'Prec@1' "$log" | head -n 16 || true
grep -E 'tests passed|tests failed|Skipped|\*\*\*' "$log" || true
printf '%s\n' "${table[@]}"
exit "$failed"
