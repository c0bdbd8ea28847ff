#!/usr/bin/env bash
# Slurm 24.11.5 (Debian 13), srun. Seen on 2026-11-29.
# Expected: with --kill-on-bad-exit srun ends with the code of the task that failed; a working directory that is not there is an error; a program that is not there gives 127.
# Happens: srun ends with the highest code of all tasks, and those that it killed itself count, as 143: the failed task's 3 or 85 is lost. The program runs in /tmp instead
#   of a --chdir that is not there, with a line on standard error and 0. A program that is not there gives 2, one that may not be executed 13.
# Matters: a code with a meaning, such as "requeue me", arrives only if all tasks end by themselves; jobs with a mistyped directory write into a node's /tmp and succeed;
#   2 is many programs' code for wrong usage.
# Source: srun(1), RETURN VALUE: the highest code of all tasks; slurmstepd's message "couldn't chdir to ...: going to /tmp instead"; 2 and 13 are ENOENT and EACCES.
. "$(dirname "$0")/common.sh"
slurm trixie 24.11.5-4+deb13u1 <<'E'
srun -n 2 sh -c 'exit $((SLURM_PROCID == 0 ? 3 : 85))' 2> /dev/null; echo "tasks end with 3 and 85: $?"
srun -n 2 --kill-on-bad-exit sh -c '[ $SLURM_PROCID = 0 ] && exit 85; sleep 30' 2> /dev/null; echo "one task ends with 85, --kill-on-bad-exit ends the other: $?"
srun -n 1 no-such-program 2> /dev/null; echo "a program that is not there: $?"
srun -n 1 /etc/passwd 2> /dev/null; echo "a file that may not be executed: $?"
where=$(srun -n 1 --chdir=/nowhere pwd 2> /dev/null); echo "--chdir to a folder that is not there: $?, runs in $where"
E
verdict <<'E'
tasks end with 3 and 85: 85
one task ends with 85, --kill-on-bad-exit ends the other: 143
a program that is not there: 2
a file that may not be executed: 13
--chdir to a folder that is not there: 0, runs in /tmp
E
