#!/usr/bin/env bash
# OpenMPI 4.1.4 (Debian 12) and 5.0.7 (Debian 13), mpirun. Seen on 2026-11-29.
# Expected: a program that cannot be started gives 127 or 126, as in a shell, or 1; codes above 128 mean that a signal ended a rank; --timeout gives 124, as timeout does.
# Happens: nearly all codes lie above 128 and differ between the versions: 132 (SIGILL?) and 134 (SIGABRT?) in 4.1, 183 in 5.0. For a folder in place of a program 5.0
#   reports "signal 13 (Broken pipe)", and for a working directory that is not there "system limit exceeded on number of files that can be open".
# Matters: a batch script that takes codes above 128 for a lost rank requeues a job that must fail again, for ever; the two messages send one looking in the wrong place.
# Source: orte/include/orte/constants.h of 4.1 and PRRTE's src/include/constants.h: internal error numbers, negative, cut to eight bits (132 is -124, not executable).
. "$(dirname "$0")/common.sh"
for version in bookworm:4.1.4-3+b1 trixie:5.0.7-1; do
  debian_packages ${version%:*} openmpi-bin=${version#*:} libopenmpi-dev=${version#*:} gcc libc6-dev
  observe inside bash -s <<'E'
attempt() {
  what=$1; shift
  timeout 60 mpirun --oversubscribe -np 2 "$@" > log 2>&1 < /dev/null; code=$?
  echo "$(mpirun --version | grep -om 1 '[0-9.]*$') $what: $code $(tr '\0\n' '  ' < log | grep -oE 'signal 13 \(Broken pipe\)|system limit exceeded on number of files' | head -n 1)" | sed 's/ $//'
}
cd /tmp
attempt "a path that is not there" /nowhere/program
attempt "a name that is not in PATH" no-such-program
attempt "a file without permission to execute" /etc/passwd
attempt "a folder" /usr
attempt "a working directory that is not there" --wdir /nowhere true
attempt "an unknown option" --no-such-option true
attempt "--timeout 2" --timeout 2 sleep 30
E
done
verdict <<'E'
4.1.4 a path that is not there: 132
4.1.4 a name that is not in PATH: 134
4.1.4 a file without permission to execute: 132
4.1.4 a folder: 131
4.1.4 a working directory that is not there: 135
4.1.4 an unknown option: 1
4.1.4 --timeout 2: 110
5.0.7 a path that is not there: 183
5.0.7 a name that is not in PATH: 66
5.0.7 a file without permission to execute: 183
5.0.7 a folder: 141 signal 13 (Broken pipe)
5.0.7 a working directory that is not there: 181 system limit exceeded on number of files
5.0.7 an unknown option: 213
5.0.7 --timeout 2: 241
E
