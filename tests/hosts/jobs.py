"""Jobs over hosts: by launch/mpirun.sh, which reaches hosts through an agent in place of ssh, and by srun as slurm/ calls it, on a SLURM of the test's own."""
import contextlib
import os
import pathlib
import pwd
import subprocess
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "fault"), str(TESTS / "slurm")]
import cluster  # noqa: E402
import faults  # noqa: E402
from faults import BIN, MPIRUN, stat_of  # noqa: E402


class Mpirun:
    """Runs on the first host, which may have no rank."""

    def __init__(self, hosts):
        self.hosts = hosts

    def stop(self):
        pass

    def command(self, names, env, command):
        words = [MPIRUN, "--mca", "plm_rsh_agent", self.hosts.agent, "--hostfile", self.hosts.hostfile(*names), "-np", len(names), "--map-by", "node"]
        for name in ["OMP_NUM_THREADS", *env]:
            words += ["-x", name]
        return self.hosts.hosts[0].inside(*words, *command)

    def left(self):
        return self.hosts.left()


class Srun(cluster.Cluster):
    """slurmctld runs on the first host, slurmd on each."""

    def __init__(self, hosts):
        self.hosts = hosts
        super().__init__()
        self.own = {pid for processes in hosts.left().values() for pid in processes}

    def run(self, *command, **options):
        return super().run(*self.hosts.hosts[0].inside(*command), **options)

    def command(self, names, env, command):
        """One job of the queue, which ends with the exit code of its first try."""
        script = f'. "$SYNCDR_HOME/slurm/job.bash"; run_ranks "$@"'
        options = [f"--nodelist={','.join(names)}", f"--nodes={len(names)}", "--ntasks-per-node=1", "--quiet"]
        settings = [f"{name}={self.env[name]}" for name in self.env if name.startswith(("SLURM_", "OMPI_MCA_"))]
        home = pathlib.Path(MPIRUN).resolve().parents[1]
        return self.hosts.hosts[0].inside("env", *settings, "TRIES=1", f"SYNCDR_HOME={home}", f"PATH={self.env['PATH']}", "salloc", *options, "bash", "-c", script, "job", *command)

    def left(self):
        """Without Slurm's own: its daemons, and what a slurmd has of a job, which on a host that was cut off stays until slurmctld can be reached again."""
        found = {host: {pid: text for pid, text in processes.items() if pid not in self.own and not text.startswith("slurmstepd: ")}
                 for host, processes in self.hosts.left().items()}
        return {host: processes for host, processes in found.items() if processes}

    def start(self):
        for name in ["munge", "state", "log", *(f"{host.name}/tmp" for host in self.hosts.hosts)]:
            (self.folder / name).mkdir(parents=True)
        for name in [name for name in self.env if name.startswith("OMPI_MCA_") and name != "OMPI_MCA_mpi_yield_when_idle"]:
            del self.env[name]
        first, user = self.hosts.hosts[0], pwd.getpwuid(os.getuid()).pw_name
        lines = cluster.CONF.format(host=first.name, user=user, folder=self.folder, ports=(6817, 6818, 6818)).replace("127.0.0.1", first.address).splitlines()
        lines = [line for line in lines if not line.startswith(("NodeName", "PartitionName", "GresTypes"))]
        lines += [f"NodeName={host.name} NodeHostname={host.name} NodeAddr={host.address} Port=6818 CPUs=1 RealMemory=1000" for host in self.hosts.hosts]
        lines += [f"PartitionName=all Nodes={','.join(host.name for host in self.hosts.hosts)} Default=YES MaxTime=30"]
        pathlib.Path(self.env["SLURM_CONF"]).write_text("\n".join(lines) + "\n")
        self.prepare()
        self.daemon(*first.inside("slurmctld", "-D", "-f", self.env["SLURM_CONF"]))
        for host in self.hosts.hosts:
            self.daemon(*host.inside("slurmd", "-D", "-N", host.name, "-f", self.env["SLURM_CONF"]))
        self.wait_for(lambda: set(self.run("sinfo", "-h", "-N", "-o", "%t", check=False).split()) == {"idle"}, 60, "idle nodes")


def rank_of(pid):
    environment = dict(item.partition(b"=")[::2] for item in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return int(environment.get(b"OMPI_COMM_WORLD_RANK") or environment[b"SLURM_PROCID"])


class Job(faults.Job):
    """One rank on each of the hosts named. `left` is what a job has left on any host."""

    def __init__(self, launcher, command, names, env=None):
        command = [str(part) for part in command]
        command[0] = str(BIN / command[0])
        self.launcher, self.hosts = launcher, launcher.hosts
        self.program = os.path.realpath(command[0])
        self.size = len(names)
        self.log = tempfile.NamedTemporaryFile(prefix="syncdr-hosts-", suffix=".log", mode="ab")
        self.seen = {}
        self.started = time.monotonic()
        env = env or {}
        self.process = subprocess.Popen(launcher.command(names, env, command), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env={**os.environ, "OMP_NUM_THREADS": "1", **env})

    def ranks(self):
        found = {}
        for host in self.hosts.hosts:
            for pid in host.processes():
                with contextlib.suppress(OSError, KeyError):  # ended meanwhile, or just starting
                    if os.path.samefile(f"/proc/{pid}/exe", self.program) and (stat := stat_of(pid)):  # paths differ between hosts
                        found[rank_of(pid)] = pid
                        self.seen[pid] = stat[2]
        return found

    def end_of_all(self, since, seconds, stays=()):
        """Seconds until the launcher was over, and until nothing was left on any host but those in `stays`. None: not within `seconds`."""
        over = empty = None
        while time.monotonic() < since + seconds and (over is None or empty is None):
            if over is None and self.process.poll() is not None:
                over = time.monotonic() - since
            if not set(self.launcher.left()) - set(stays):
                empty = time.monotonic() - since
            time.sleep(0.05)
        return over, empty
