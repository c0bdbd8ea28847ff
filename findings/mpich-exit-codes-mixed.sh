#!/usr/bin/env bash
# mpich 5.0.2 (the wheel of PyPI), mpiexec. Seen on 2026-11-30.
# Expected: where ranks end with different codes, mpiexec ends with one of them, as OpenMPI's and Slurm's launchers do; a rank that a signal kills shows as 128 + the signal.
# Happens: the codes are or-ed bit by bit: 65 and 2 end in 67, 64 and 21 in 85. Signals are or-ed raw: a rank killed by KILL is 9, one by USR2 with the others then killed is 13
#   (12 | 9), which reads as a PIPE.
# Matters: scripts that requeue a job on a code that means "stopped in good order, start me again" see codes that no rank returned: a usage error beside another one looks like
#   "again", and a good stop of one rank beside a failure of another looks like neither.
# Source: https://github.com/pmodels/mpich/issues/586 asks for the single codes to be printed, as hydra or-s them.
. "$(dirname "$0")/common.sh"
python_packages mpich==5.0.2
for codes in "0 0" "0 85" "65 2" "64 21" "66 75" "1 2"; do
  set -- $codes; code=0
  mpiexec -n 2 sh -c "[ \$PMI_RANK = 0 ] && exit $1; exit $2" > /dev/null 2>&1 < /dev/null || code=$?
  echo "ranks end with $1 and $2: mpiexec with $code" >> "$out"
done
for signal in KILL USR2; do
  code=0; mpiexec -n 2 sh -c "[ \$PMI_RANK = 1 ] && kill -$signal \$\$; sleep 5" > /dev/null 2>&1 < /dev/null || code=$?
  echo "rank 1 killed by $signal: mpiexec with $code" >> "$out"
done
verdict <<'E'
ranks end with 0 and 0: mpiexec with 0
ranks end with 0 and 85: mpiexec with 85
ranks end with 65 and 2: mpiexec with 67
ranks end with 64 and 21: mpiexec with 85
ranks end with 66 and 75: mpiexec with 75
ranks end with 1 and 2: mpiexec with 3
rank 1 killed by KILL: mpiexec with 9
rank 1 killed by USR2: mpiexec with 13
E
