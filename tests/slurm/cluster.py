"""A SLURM of two nodes on this host: munged, slurmctld and two slurmd on loopback, in a folder of its own. Root is not needed; everything ends with it."""
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

# Small waits everywhere: a job should start when it is submitted, and a requeued one after the 5 s that its old credential still lives.
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n/slurmd.pid
SlurmdSpoolDir={folder}/%n
TmpFS={folder}/%n/tmp
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
SchedulerParameters=sched_interval=1,sched_min_interval=10000,bf_interval=1,batch_sched_delay=0
KillWait=10
MinJobAge=3600
MpiDefault=none
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000 Gres=gpu:2
PartitionName=low Nodes=n[1-2] Default=YES MaxTime=30 PriorityTier=1 GraceTime=30
PartitionName=high Nodes=n[1-2] MaxTime=30 PriorityTier=10 PreemptMode=OFF
"""
HOME = pathlib.Path(os.environ["SYNCDR_MPIRUN"]).resolve().parents[1]
NEEDED = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "squeue"]


class Cluster:
    def __init__(self):
        missing = [name for name in NEEDED if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
        if missing:
            raise RuntimeError(f"these tests start a SLURM of their own; {', '.join(missing)} not found. Install it: launch/setup.sh --tests")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-slurm-"))
        self.daemons = []
        self.env = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        for name in [name for name in self.env if re.match("SLURM_(?!CONF)|SBATCH_|SRUN_|OMPI_MCA_", name)]:
            del self.env[name]
        # The two nodes are one host: only TCP over loopback connects their ranks, and idle ranks must not keep a core that both nodes count as theirs.
        self.env.update({"OMPI_MCA_btl": "self,tcp", "OMPI_MCA_btl_tcp_if_include": "lo", "OMPI_MCA_mpi_yield_when_idle": "1"})
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self):
        for name in ("munge", "state", "log", "n1/tmp", "n2/tmp"):
            (self.folder / name).mkdir(parents=True)
        holders = [socket.socket() for _ in range(3)]
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        ports = [holder.getsockname()[1] for holder in holders]
        for holder in holders:
            holder.close()
        host, user = socket.gethostname().split(".")[0], pwd.getpwuid(os.getuid()).pw_name
        (self.folder / "slurm.conf").write_text(CONF.format(host=host, user=user, folder=self.folder, ports=ports))
        for gpu in range(2):  # any device will do: what is tested is which of them a rank is shown
            (self.folder / f"gpu{gpu}").symlink_to("/dev/null")
        (self.folder / "gres.conf").write_text(f"NodeName=n[1-2] Name=gpu File={self.folder}/gpu[0-1] Flags=nvidia_gpu_env\n")
        self.prepare()
        self.daemon("slurmctld", "-D", "-f", self.env["SLURM_CONF"])
        for node in ("n1", "n2"):
            self.daemon("slurmd", "-D", "-N", node, "-f", self.env["SLURM_CONF"])
        self.wait_for(lambda: self.run("sinfo", "-h", "-N", "-o", "%t", "-p", "low", check=False).split() == ["idle", "idle"], 60, "two idle nodes")

    def prepare(self):
        """What the daemons need beside slurm.conf and gres.conf."""
        self.version = re.search(r"\d+\.\d+\.\d+", self.run("sinfo", "--version"))[0]
        # Daemons look for mounted cgroups, which a container may lack, unless they are told otherwise: that there are none, which older ones cannot be told,
        # or of which kind they are.
        plugin = "disabled" if tuple(map(int, self.version.split("."))) >= (23, 2) else "cgroup/v1"
        (self.folder / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\n")
        munge = self.folder / "munge"
        self.folder.chmod(0o755)
        munge.chmod(0o700)
        key = munge / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self.daemon("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}/socket", f"--pid-file={munge}/pid", f"--seed-file={munge}/seed",
                    f"--log-file={munge}/log", "--num-threads=2")
        self.wait_for(lambda: (munge / "socket").exists(), 20, "munged's socket")

    def daemon(self, *command):
        log = open(self.folder / "log" / f"{len(self.daemons)}-{command[0]}", "w")
        if shutil.which("setpriv"):  # a killed test must not leave them
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        self.daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env))
        log.close()

    def wait_for(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            dead = [" ".join(daemon.args) for daemon in self.daemons if daemon.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"{what}: {'ended: ' + ', '.join(dead) if dead else f'not there after {seconds} s'}\n{self.logs()}")
            time.sleep(0.1)

    def logs(self, lines=25):
        """The ends of the daemons' logs, for a failed test's message."""
        texts = []
        for file in sorted((self.folder / "log").glob("*")):
            end = file.read_text(errors="replace").splitlines()[-lines:]
            if end:
                texts.append("\n".join([f"--- {file.name}", *end]))
        return "\n".join(texts)

    def run(self, *command, check=True, env=None, timeout=60, cwd=None):
        """Runs a command that speaks to this cluster; its standard output."""
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, env={**self.env, **(env or {})}, cwd=cwd)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def job(self, job):
        """What SLURM knows of a job: {"JobState": "RUNNING", "Restarts": "0", ...}."""
        return dict(pair.split("=", 1) for pair in self.run("scontrol", "--oneliner", "show", "job", job).split() if "=" in pair)

    def stop(self):
        """Ends the jobs, the daemons, and whatever they have started, by the mark of this cluster in its environment."""
        if len(self.daemons) > 1:
            self.run("scancel", "--user", pwd.getpwuid(os.getuid()).pw_name, check=False)
            deadline = time.monotonic() + 5
            while self.run("squeue", "--noheader", check=False) and time.monotonic() < deadline:
                time.sleep(0.1)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in self.processes():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self):
        """All processes that this cluster has started, and their children."""
        mark = b"SLURM_CONF=" + os.fsencode(self.env["SLURM_CONF"])
        found = []
        for place in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
            except OSError:  # ended meanwhile, or another user's
                pass
        return found


class ClusterTest(unittest.TestCase):
    """Jobs of slurm/ on a cluster of their own, in a work folder."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-slurm-work-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.stop)

    def setUp(self):
        self.addCleanup(self.explain)

    def explain(self):
        """What the jobs and daemons said, if the test has failed."""
        outcome = self._outcome.result if hasattr(self._outcome, "result") else self._outcome
        if any(test is self for test, _ in outcome.failures + outcome.errors):
            for log in sorted(self.folder.rglob("*.log")):
                print(f"--- {log}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
            print(self.cluster.logs(), file=sys.stderr)

    def submit(self, *arguments, env=None):
        """Submits a job from the work folder: options of sbatch, "phase.sbatch", its arguments. The job's id."""
        arguments = [str(HOME / "slurm" / part) if part == "phase.sbatch" else part for part in arguments]
        return self.cluster.run("sbatch", "--parsable", *arguments, env={"SYNCDR_HOME": str(HOME), **(env or {})}, cwd=self.folder).strip()

    def log(self, job):
        return "".join(file.read_text(errors="replace") for file in self.folder.rglob(f"*-{job}.log"))

    def wait(self, job, seconds=200):
        """The job's last state, when it has one."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.cluster.job(job)
            if state["JobState"] not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SIGNALING", "SUSPENDED"):
                return state
            self.assertLess(time.monotonic(), deadline, f"job {job} is {state['JobState']} ({state['Reason']}) after {seconds} s:\n{self.log(job)}")
            time.sleep(0.2)

    def wait_until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.02)

    def assertDone(self, job, restarts=0):
        state = self.wait(job)
        self.assertEqual((state["JobState"], state["Restarts"]), ("COMPLETED", str(restarts)), self.log(job))
        return state

    def program(self, text):
        """A folder with a stand-in for syncdr."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "syncdr").write_text(f"#!/bin/bash\n{text}\n")
        (folder / "syncdr").chmod(0o755)
        return folder
