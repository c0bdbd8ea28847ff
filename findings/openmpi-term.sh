#!/usr/bin/env bash
# OpenMPI 4.1.4 (Debian 12) and 5.0.7 (Debian 13), mpirun.
# Expected: TERM to mpirun reaches the ranks as TERM; they have some seconds to save their state, as under SLURM or docker stop, and mpirun ends with their code, or 143.
# Happens: mpirun ends with 1 whatever the ranks return. Ranks that need 0.7 s to save finish under 4.1, and are killed under 5.0.
#   USR2 is handed on by both, and both end with the ranks' code.
# Matters: a preempted job's last checkpoint depends on the version of the launcher; the exit code cannot tell "stopped on request" from failure. Send USR2.
# Source: orte/mca/odls/base/odls_base_frame.c of 4.1, sigkill_timeout: 1 s between TERM and KILL. PRRTE, the launcher of 5.0, names the same second, and does not grant it.
. "$(dirname "$0")/common.sh"
for version in bookworm:4.1.4-3+b1 trixie:5.0.7-1; do
  debian_packages ${version%:*} openmpi-bin=${version#*:} libopenmpi-dev=${version#*:} gcc libc6-dev
  observe inside bash -s <<'E'
cd /tmp
cat > rank.sh <<'R'
trap 'sleep 0.7; touch saved.$OMPI_COMM_WORLD_RANK; exit 85' TERM USR2
touch ready.$OMPI_COMM_WORLD_RANK
for i in $(seq 200); do sleep 0.1; done
R
for name in TERM USR2; do
  rm -f ready.* saved.*
  mpirun --oversubscribe -np 2 bash rank.sh > log 2>&1 < /dev/null &
  until [ -e ready.0 -a -e ready.1 ]; do sleep 0.1; done; sleep 1
  kill -$name $!; wait $!; ended=$?
  echo "$(mpirun --version | grep -om 1 '[0-9.]*$') $name: mpirun ends with $ended, ranks that saved: $(ls saved.* 2> /dev/null | wc -l)"
done
E
done
verdict <<'E'
4.1.4 TERM: mpirun ends with 1, ranks that saved: 1
4.1.4 USR2: mpirun ends with 85, ranks that saved: 2
5.0.7 TERM: mpirun ends with 1, ranks that saved: 0
5.0.7 USR2: mpirun ends with 85, ranks that saved: 2
E
