# Sourced by every finding: pinned packages in a temporary folder that goes away with the script, what was observed, and the verdict.
set -euo pipefail
tmp=$(mktemp -d) out=$tmp/observed
trap 'rm -rf "$tmp"' EXIT
: > "$out"

not_tried() { echo "$(basename "$0"): not tried: $*" >&2; exit 2; }

# python_packages NAME==VERSION...: `python` has them from here on.
# FINDINGS_KEEP=DIR keeps the packages there for the next script with the same list: a torch is 5 GB.
python_packages() {
  local home=${FINDINGS_KEEP:-$tmp}/$(tr ' ' + <<< "$*")
  [[ -e $home/complete ]] || { python3 -m venv "$home" && "$home/bin/pip" install -q --no-compile --disable-pip-version-check "$@" && touch "$home/complete"; } ||
    not_tried "pip could not install $*"
  export PATH=$home/bin:$PATH OMP_NUM_THREADS=1 GLOO_SOCKET_IFNAME=lo HF_HUB_OFFLINE=1 PYTHONWARNINGS=ignore TMPDIR=$tmp
}

# debian_packages SUITE NAME=VERSION...: `inside COMMAND...` runs as root in a root of that suite with them, from here on. FINDINGS_KEEP holds for it as well.
debian_packages() {
  [[ $(id -u) == 0 ]] && command -v debootstrap > /dev/null || not_tried "a Debian root needs debootstrap and root"
  root=${FINDINGS_KEEP:-$tmp}/$(tr ' ' + <<< "$*")
  local suite=$1; shift
  [[ ! -e $root.complete ]] || return 0
  debootstrap --variant=minbase "$suite" "$root" > "$tmp/log" 2>&1 || not_tried "debootstrap $suite: $(tail -n 1 "$tmp/log")"
  printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"; chmod 755 "$root/usr/sbin/policy-rc.d"  # no service starts by itself
  inside env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" > "$tmp/log" 2>&1 || not_tried "apt-get install $*: $(tail -n 1 "$tmp/log")"
  touch "$root.complete"
}
inside() { # in namespaces of their own: no mount and no process can be left, and /tmp is empty
  unshare --mount --pid --fork --kill-child bash -c '
    cd "$0"; mount -t proc proc proc; mount -t sysfs sys sys; mount --rbind /dev dev; for folder in dev/shm run tmp; do mount -t tmpfs none $folder; done
    exec chroot . env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "$@"' "$root" "$@"
}

# slurm SUITE VERSION: the shell script on stdin, in /tmp of such a root, where a SLURM of two nodes (four CPUs each) on loopback runs. Partition `low` is preempted by `high`.
# `until_state JOB STATE` waits for a job.
slurm() {
  debian_packages "$1" slurm-wlm="$2" munge
  { cat <<'CLUSTER'; cat; } > "$tmp/script"
cd /tmp; mkdir munge state n1 n2; chmod 700 munge; head -c 128 /dev/urandom > munge/key; chmod 400 munge/key
host=$(hostname -s) port=$((20000 + RANDOM % 10000)); echo "127.0.0.1 localhost $host" > /etc/hosts
export SLURM_CONF=/tmp/slurm.conf; echo CgroupPlugin=disabled > cgroup.conf
cat > slurm.conf <<C
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=/tmp/munge/socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=/tmp/state
SlurmctldPidFile=/tmp/slurmctld.pid
SlurmdPidFile=/tmp/%n/pid
SlurmdSpoolDir=/tmp/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=10000,bf_interval=1,batch_sched_delay=0
MinJobAge=3600
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=4 RealMemory=1000
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=4 RealMemory=1000
PartitionName=low Nodes=n[1-2] Default=YES PriorityTier=1 GraceTime=30
PartitionName=high Nodes=n[1-2] PriorityTier=10 PreemptMode=OFF
C
munged --foreground --force --key-file=/tmp/munge/key --socket=/tmp/munge/socket --pid-file=/tmp/munge/pid --seed-file=/tmp/munge/seed --log-file=/tmp/munge/log 2> log &
for i in {1..100}; do [[ -S munge/socket ]] && break; sleep 0.2; done
slurmctld -D > log.slurmctld 2>&1 & for node in n1 n2; do slurmd -D -N $node > log.$node 2>&1 & done
for i in {1..200}; do [[ $(sinfo -h -N -p low -o %t 2> /dev/null | tr '\n' ' ') == "idle idle " ]] && break; sleep 0.5; done
state() { squeue -h -t all -j "$1" -o %T; }
until_state() { for i in {1..400}; do [[ $(state "$1") == "$2" ]] && return; sleep 0.3; done; echo "job $1 is $(state "$1"), not $2"; }
CLUSTER
  observe inside bash -c 'cat > /run/script; exec bash /run/script < /dev/null' < "$tmp/script"
}

# observe COMMAND...: its standard output is what is observed; if it fails, its code and the end of its messages are too.
observe() {
  local code=0
  "$@" >> "$out" 2> "$tmp/errors" || code=$?
  ((code == 0)) || { echo "exit $code"; tail -n 3 "$tmp/errors"; } >> "$out"
}
# ranks N: the Python program on stdin, on N ranks. They are forks of one process that has loaded torch, and leave together: gloo aborts those whose peers are gone.
ranks() {
  cat > "$tmp/program.py"
  cat > "$tmp/ranks.py" <<'RANKS'
import os, socket, sys, torch, torch.distributed as dist
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": sys.argv[1]}
for rank in range(int(sys.argv[1])):
    if os.fork() == 0:
        os.environ["RANK"] = str(rank)
        exec(compile(open(sys.argv[2]).read(), sys.argv[2], "exec"))
        try: dist.barrier()
        except RuntimeError: pass
        dist.destroy_process_group()
        sys.exit()
sys.exit(max(os.waitstatus_to_exitcode(os.wait()[1]) != 0 for _ in range(int(sys.argv[1]))))
RANKS
  observe python "$tmp/ranks.py" "$1" "$tmp/program.py"
}

# verdict: compares it with the behaviour on stdin.
verdict() {
  cat > "$tmp/stated"
  echo "observed:"; sed 's/^/    /' "$out"
  diff -u --label stated --label observed "$tmp/stated" "$out" > "$tmp/diff" || { echo "no longer as stated:"; sed 's/^/    /' "$tmp/diff"; exit 1; }
  echo "as stated"
}
