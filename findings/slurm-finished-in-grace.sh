#!/usr/bin/env bash
# Slurm 24.11.5 (Debian 13), PreemptMode=REQUEUE with a GraceTime. Seen on 2026-11-29.
# Expected: a job that is selected for preemption gets TERM at once, as documented, and has its grace time to end; if it ends with 0 within that time, it is done.
# Happens: a batch shell gets no TERM at the start of the grace time (steps of srun do), and a job that ends with 0 within it is requeued all the same and does everything again.
# Matters: the last minutes of a training, and what follows it (upload, evaluation, a mail), are done twice: whatever the job does must bear repetition, and a job under
#   mpirun does not learn of its preemption, except by SlurmctldParameters=preempt_send_user_signal and --signal=B:.
# Source: Slurm's page on preemption, and slurm.conf(5): GraceTime, PreemptMode, preempt_send_user_signal.
. "$(dirname "$0")/common.sh"
slurm trixie 24.11.5-4+deb13u1 <<'E'
cat > job <<'J'
#!/bin/bash
trap 'echo TERM >> lives' TERM
echo begins >> lives; for i in {1..80}; do sleep 0.1; done; echo "ends with 0" >> lives
J
printf '#!/bin/bash\n' > urgent
id=$(sbatch --parsable -p low -N 2 --exclusive --requeue -o /dev/null job); until_state $id RUNNING; sleep 2
other=$(sbatch --parsable -p high -N 2 --exclusive -o /dev/null urgent); until_state $other COMPLETED; until_state $id COMPLETED
echo "the preempted job: $(paste -sd , lives | sed 's/,/, /g'), $(scontrol show job $id | grep -oE '(JobState|Restarts|ExitCode)=[^ ]*' | paste -sd ' ')"
E
verdict <<'E'
the preempted job: begins, ends with 0, begins, ends with 0, JobState=COMPLETED Restarts=1 ExitCode=0:0
E
