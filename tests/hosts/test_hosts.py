"""Hosts that vanish. test_hosts.py [WORD...]: the cases whose name holds one of the words, or all. A rank on another host is killed; a host's link is cut and mended; what the job says, when it is over, what is left, and that a rerun
has the bytes of an undisturbed run on one host."""
import contextlib
import os
import re
import signal
import sys
import time

from hosts import Hosts, enter_own_namespaces
enter_own_namespaces()
from jobs import Job, Mpirun, Srun  # noqa: E402
from faults import contents, run_cases, say, wait_for  # noqa: E402

DEADLINE = 8
PATIENCE = 5   # seconds in which the job is ended on every host, after the deadline
OUTAGE = 3     # of a link that comes back in time

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Scene:
    """Hosts, a launcher, and a place to work in."""

    def __init__(self, workshop, name, task, hosts, launcher):
        self.name, self.task = name, workshop.task(task)
        self.place = self.task.fresh(name)
        self.stack = contextlib.ExitStack()
        self.hosts = self.stack.enter_context(Hosts(hosts))
        self.launcher = launcher(self.hosts)
        self.stack.callback(self.launcher.stop)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def job(self, *names, fault=""):
        """From the first host. Whoever meets the claim of a lost host takes it over soon."""
        env, deadline = ({"SYNCDR_FAULT": fault}, DEADLINE) if fault else ({}, 60)
        return Job(self.launcher, [*self.task.command(self.place), "--set", f"comm.deadline={deadline}", "--set", "translate.claim_timeout=3"], names, env=env)

    def finish(self, *names):
        with self.job(*names) as job:
            job.expect(0, timeout=90)
        self.task.expect_whole(self.place)
        assert not (left := self.hosts.wait_until_empty(3, self.launcher)), f"a job that has ended well leaves {left}"

    def expect_over(self, job, since, limit, blamed, *, stays=(), lines_said=1):
        """The job ends with 75 in time, one line blames `blamed` (a regular expression), no process is left on any host but those in `stays`."""
        over, empty = job.end_of_all(since, limit + 3, stays)
        code, output = job.process.poll(), job.output()
        lines = [line for line in output.splitlines() if re.search(r" E \[|^mpirun\.sh: | job \d+: .*(was ended|answer)", line)]
        said = f"{self.name}: over after {over and f'{over:.1f}'} s, nothing left after {empty and f'{empty:.1f}'} s (at most {limit}), exit code {code}: {' | '.join(lines)}"
        say(said)
        assert code == 75, f"{said}\n{output}"
        assert len(lines) == lines_said and re.search(blamed, lines[-1]), f"{said}\nnot {lines_said} line with {blamed!r}:\n{output}"
        assert empty is not None and max(over, empty) < limit, f"{said}\nleft: {self.launcher.left()}\n{output}"


def cut(scene, job, host, rank, go_on=True):
    """Cuts the host's link as soon as that rank has stopped at its fault point, and lets the rank go on. The moment of the cut."""
    stopped, _ = job.wait_until_stopped(60)
    assert stopped == rank, f"rank {stopped} has stopped instead of rank {rank}"
    scene.hosts[host].cut()
    since = time.monotonic()
    if go_on:
        assert job.send(rank, signal.SIGCONT)
    return since


def killed(workshop, name, launcher, limit, lines_said):
    with Scene(workshop, name, "translate", 2, launcher) as scene:
        with scene.job("h1", "h2", fault="kill,claim.created,3,1,unit-") as job:
            wait_for(lambda: 1 in job.ranks(), job, "rank 1 is there")
            while 1 in job.ranks():
                time.sleep(0.01)
            scene.expect_over(job, time.monotonic(), limit, r"rank 1 on h2 was ended by signal (9 )?\(Killed\)", lines_said=lines_said)
        scene.finish("h1", "h2")


def cut_in(workshop, name, launcher, task, fault, rank, *, hosts=2, again=("h1",), mend=False):
    """The last host is cut off. `again`: hosts of the next job, which goes on where this one stood."""
    lost = f"h{hosts}"
    with Scene(workshop, name, task, hosts, launcher) as scene:
        with scene.job(*(host.name for host in scene.hosts.hosts), fault=fault) as job:
            since = cut(scene, job, lost, rank)
            scene.expect_over(job, since, DEADLINE + PATIENCE, rf"rank {hosts - 1} \({lost}\)")
        scene.task.expect_sealed(scene.place)
        if mend:
            scene.hosts[lost].mend()
        scene.finish(*again)


def back_in_time(workshop, name, task, fault, rank, hosts):
    with Scene(workshop, name, task, hosts, Mpirun) as scene:
        with scene.job(*(host.name for host in scene.hosts.hosts), fault=fault) as job:
            since = cut(scene, job, "h2", rank)
            time.sleep(OUTAGE)
            scene.hosts["h2"].mend()
            job.expect(0, timeout=60)
            say(f"{name}: link back after {OUTAGE} s, the job goes on and is done {time.monotonic() - since:.1f} s after the cut")
        scene.task.expect_whole(scene.place)


CLAIMED, CLAIMED_BY_2 = "stop,claim.created,2,1,unit-", "stop,claim.created,2,2,unit-"
SAVED = "stop,checkpoint.after_rename,3,0,"


@case
def mpirun_killed_remote_rank(workshop, name):
    killed(workshop, name, Mpirun, 2 * PATIENCE, 1)


@case
def mpirun_cut_in_translate(workshop, name):
    cut_in(workshop, name, Mpirun, "translate", CLAIMED, 1)


@case
def mpirun_cut_in_translate_on_three_hosts(workshop, name):
    cut_in(workshop, name, Mpirun, "translate", CLAIMED_BY_2, 2, hosts=3, again=("h1", "h2"))


@case
def mpirun_cut_in_train_and_back_after_the_deadline(workshop, name):
    cut_in(workshop, name, Mpirun, "train", SAVED, 0, again=("h1", "h2"), mend=True)


@case
def mpirun_cut_within_a_checkpoint(workshop, name):
    cut_in(workshop, name, Mpirun, "train", "stop,checkpoint.before_rename,3,0,", 0, again=("h1", "h2"), mend=True)


@case
def mpirun_cut_and_back_in_time_in_translate(workshop, name):
    back_in_time(workshop, name, "translate", CLAIMED, 1, hosts=3)


@case
def mpirun_cut_and_back_in_time_in_train(workshop, name):
    back_in_time(workshop, name, "train", SAVED, 0, hosts=2)


@case
def mpirun_first_rank_cut_off_from_mpirun_and_peers(workshop, name):
    with Scene(workshop, name, "translate", 3, Mpirun) as scene:
        with scene.job("h2", "h3", fault="stop,claim.created,2,0,unit-") as job:
            since = cut(scene, job, "h2", 0)
            scene.expect_over(job, since, DEADLINE + PATIENCE, r"rank 0 \(h2\) does not answer")
        scene.finish("h1", "h3")


def files_of(scene):
    return {path: path.stat().st_mtime_ns for path in scene.task.result(scene.place).rglob("*") if path.is_file()}


def late(workshop, name, task, names, lost, rank, fault, again, blamed):
    """A rank is stopped just before it seals, its host cut off. Others make all that is left. Then it goes on: what others have sealed stays as it is."""
    with Scene(workshop, name, task, 3, Mpirun) as scene:
        with scene.job(*names, fault=fault) as job:
            since = cut(scene, job, lost, rank, go_on=False)
            late_rank = job.ranks()[rank]
            scene.expect_over(job, since, DEADLINE + PATIENCE, blamed, stays=[lost])
            with scene.job(*again) as other:
                other.expect(0, timeout=90)
            scene.task.expect_whole(scene.place)
            before, content = files_of(scene), contents(scene.task.result(scene.place))
            os.kill(late_rank, signal.SIGCONT)
            since = time.monotonic()
            left = scene.hosts.wait_until_empty(DEADLINE + 2 * PATIENCE, scene.launcher)
            assert not left, f"{name}: {left} go on after {DEADLINE + 2 * PATIENCE} s"
            say(f"{name}: the late rank and its daemon are gone {time.monotonic() - since:.1f} s after it was woken up")
        assert files_of(scene) == before and contents(scene.task.result(scene.place)) == content, f"{name}: something was replaced"


@case
def mpirun_unit_sealed_late(workshop, name):
    late(workshop, name, "translate", ["h1", "h2"], "h2", 1, "stop,file.before_rename,2,1,unit-", ["h1", "h3"], r"rank 1 \(h2\)")


@case
def mpirun_checkpoint_sealed_late(workshop, name):
    late(workshop, name, "train", ["h2", "h3"], "h2", 0, "stop,checkpoint.before_rename,3,0,", ["h1", "h3"], r"rank 0 \(h2\) does not answer")


@case
def srun_killed_remote_rank(workshop, name):
    killed(workshop, name, Srun, DEADLINE + PATIENCE, 2)  # srun leaves it to the ranks to miss the one that is gone, and says then how it ended


@case
def srun_cut_in_translate_on_three_hosts(workshop, name):
    cut_in(workshop, name, Srun, "translate", CLAIMED_BY_2, 2, hosts=3, again=("h1", "h2"))


@case
def srun_cut_in_train(workshop, name):
    cut_in(workshop, name, Srun, "train", SAVED, 0, again=("h1", "h2"), mend=True)


if __name__ == "__main__":
    chosen = [name for name in CASES if not sys.argv[1:] or any(word in name for word in sys.argv[1:])]
    assert chosen, f"no such case; there are {', '.join(CASES)}"
    sys.exit(run_cases(lambda workshop, name: CASES[name](workshop, name), chosen, ("translate", "train")))
