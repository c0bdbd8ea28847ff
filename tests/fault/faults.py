"""What the fault tests share: jobs whose ranks can be found and ended one by one, the four commands that must survive it, comparison of what they leave."""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from support import BIN, DIFFUSION, MPIRUN, SMALL, TOKENS, expect, run, write_pictures  # noqa: E402,F401  (also for the tests)

# A rank that was killed ends the job with its signal's code, or, if a peer was quicker to notice, with the code of a peer that died.
CODES_OF_A_KILL = (137, 75)

# Small enough for seconds, with many places where a kill hurts: units of four images, a checkpoint every second step, an epoch of a few steps.
CONFIG = SMALL + DIFFUSION + TOKENS + """
[comm]
deadline = 30
"""
SETTINGS = {
    "fit.cut.steps": 30,
    "fit.cut.checkpoint_every": 2,
    "fit.cut.sample_every": 10,
    "fit.textual_inversion.steps": 40,
    "fit.textual_inversion.sample_every": 20,
    "translate.unit_rows": 4,
    "translate.batch": 2,
    "translate.size": 128,
    "train.epochs": 16,
}


def seed():
    """The seed of all random moments; SYNCDR_SEED repeats a run of the tests, as far as clocks allow."""
    if "SYNCDR_SEED" not in os.environ:
        os.environ["SYNCDR_SEED"] = str(random.SystemRandom().randrange(1_000_000))
        print(f"SYNCDR_SEED={os.environ['SYNCDR_SEED']} repeats the moments of this run", flush=True)
    return os.environ["SYNCDR_SEED"]


def say(text):
    print(text, flush=True)


# ---------------------------------------------------------------------------------------------------------------------- processes


def stat_of(pid):
    """(state, parent, start time) of a process, or nothing if it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), fields[19]


def descendants(root):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := stat_of(entry)):
            children.setdefault(stat[1], []).append(int(entry))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def rank_of(pid):
    for item in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if item.startswith(b"OMPI_COMM_WORLD_RANK="):
            return int(item.partition(b"=")[2])
    return 0


class Job:
    """A program of ours that runs, on several ranks where asked. Leaving the `with` block ends whatever is left of it."""

    def __init__(self, command, ranks=None, env=None):
        command = [str(part) for part in command]
        command[0] = str(BIN / command[0])
        self.program = os.path.realpath(command[0])
        self.command = [MPIRUN, "-np", str(ranks)] + command if ranks else command
        self.size = ranks or 1
        self.log = tempfile.NamedTemporaryFile(prefix="syncdr-fault-", suffix=".log", mode="ab")
        self.seen = {}  # pid -> start time, of ranks
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.log.close()

    def end(self):
        if self.process.poll() is None:
            for pid in reversed(descendants(self.process.pid)):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
        for pid in self.left():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def ranks(self):
        """Rank -> process, of those that are alive now."""
        found = {}
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)") == self.program and (stat := stat_of(pid)) and stat[0] not in "ZX":
                    found[rank_of(pid)] = pid
                    self.seen[pid] = stat[2]
        return found

    def wait_for_ranks(self, count=1):
        """The ranks, as soon as so many are there; fewer if the job ends before."""
        while len(found := self.ranks()) < count and self.process.poll() is None:
            time.sleep(0.002)
        return found

    def left(self):
        """Ranks that outlive their job."""
        return [pid for pid, start in self.seen.items() if (stat := stat_of(pid)) and stat[2] == start and stat[0] not in "ZX"]

    def output(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def wait(self, timeout=60):
        """The exit code. No rank may outlive the job."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            output = self.output()
            states = {rank: (pid, stat_of(pid)) for rank, pid in self.ranks().items()}
            raise AssertionError(f"the job was not over after {timeout} s (ranks: {states}):\n{output}") from None
        patience = time.monotonic() + 3
        while self.left() and time.monotonic() < patience:
            time.sleep(0.01)
        assert not self.left(), f"processes {self.left()} outlive their job:\n{self.output()}"
        return code

    def expect(self, codes, *texts, timeout=60):
        code = self.wait(timeout)
        codes = codes if isinstance(codes, tuple) else (codes,)
        output = self.output()
        assert code in codes, f"exit code {code}, not one of {codes}:\n{output}"
        for text in texts:
            assert re.search(text, output), f"{text!r} was not said:\n{output}"
        return code

    def send(self, rank, number):
        """True if the rank was alive to get the signal."""
        pid = self.ranks().get(rank)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def wait_until_stopped(self, timeout=30):
        """(rank, moment) of the first rank that has been stopped."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            for rank, pid in self.ranks().items():
                if (stat := stat_of(pid)) and stat[0] == "T":
                    return rank, time.monotonic()
            time.sleep(0.005)
        raise AssertionError(f"no rank was stopped:\n{self.output()}")


def wait_for(condition, job, what, timeout=30):
    end = time.monotonic() + timeout
    while not condition():
        assert job.process.poll() is None, f"the job was over before {what}:\n{job.output()}"
        assert time.monotonic() < end, f"no {what} after {timeout} s:\n{job.output()}"
        time.sleep(0.005)


# ---------------------------------------------------------------------------------------------------------------------- contents


def without(text, *names):
    """A line of figures without those that a clock decides."""
    return json.dumps({name: value for name, value in json.loads(text).items() if name not in names})


def digest(path):
    content = path.read_bytes()
    if path.name == "log.jsonl":
        return [without(line, "images_per_second") for line in content.decode().splitlines()]
    return hashlib.sha256(content).hexdigest()


def is_event_file(path):
    return path.name.startswith("events.out.tfevents.")


def contents(folder):
    """Every file below a folder -> what it holds, less what a clock decides. Event files hold what log.jsonl does, in as many files as there were sessions."""
    return {str(path.relative_to(folder)): digest(path) for path in sorted(folder.rglob("*")) if path.is_file() and not is_event_file(path)}


def expect_same(found, expected, what):
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    assert not missing and not extra, f"{what}: missing {missing}, too many {extra}"
    for name in expected:
        assert found[name] == expected[name], f"{what}: {name} differs:\n  {found[name]}\n  {expected[name]}"


def left_overs(folder):
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.name.endswith(".tmp") or ".claim-" in path.name]


# ---------------------------------------------------------------------------------------------------------------------- the commands


class Task:
    """A command, the folder it fills, and an undisturbed run of it to compare with."""

    name, ranks = "", 2
    resumes_on = (2,)  # numbers of ranks on which the bytes are the same

    def __init__(self, workshop):
        self.workshop = workshop
        self.whole = self.fresh("whole")
        started = time.monotonic()
        expect(run(*self.command(self.whole), ranks=self.ranks), 0)
        self.duration = time.monotonic() - started
        self.reference = contents(self.result(self.whole))
        assert not left_overs(self.result(self.whole)), left_overs(self.result(self.whole))
        say(f"{self.name}: {self.duration:.2f} s undisturbed, {len(self.reference)} files")

    def fresh(self, name, under=None):
        place = (under or self.workshop.folder / self.name) / name
        place.mkdir(parents=True)
        return place

    def copy(self, name, under=None):
        """A place that holds what the undisturbed run has left: to be damaged."""
        place = (under or self.workshop.folder / self.name) / name
        shutil.copytree(self.whole, place)
        return place

    def job(self, place, *arguments, ranks=None, env=None):
        return Job([*self.command(place), *arguments], ranks=ranks or self.ranks, env=env)

    def finish(self, place, *texts, arguments=(), timeout=60):
        """Runs to the end; then the folder must be the undisturbed one's. Texts are regular expressions of what must be said."""
        with self.job(place, *arguments) as job:
            job.expect(0, *texts, timeout=timeout)
        self.expect_whole(place)

    def expect_whole(self, place):
        expect_same(contents(self.result(place)), self.reference, f"{self.name} in {place}")

    def expect_sealed(self, place):
        """Whatever has its final name is whole: it has the bytes of the undisturbed run. A checkpoint has all its files."""
        folder = self.result(place)
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if not path.is_file() or is_event_file(path) or name.endswith((".tmp", "log.jsonl", "packing.json")) or ".tmp/" in name or ".claim-" in name:
                continue
            if path.parent.name.startswith("step-"):
                for file in ("tensors.safetensors", "state.json", "manifest.json"):
                    assert path.with_name(file).exists(), f"{self.name}: {path.parent} lacks {file}"
                if name not in self.reference:  # the undisturbed run has removed it long since
                    continue
            assert name in self.reference, f"{self.name}: {name} is nothing that an undisturbed run makes"
            assert digest(path) == self.reference[name], f"{self.name}: {name} has its final name and other content"

    def result(self, place):
        raise NotImplementedError

    def command(self, place):
        raise NotImplementedError


class Translate(Task):
    """Each place has a data set of its own, so that all translations can have one name."""

    name = "translate"
    resumes_on = (1, 2, 3)

    def __init__(self, workshop):
        self.weights = workshop.generator()
        super().__init__(workshop)

    def fresh(self, name, under=None):
        place = super().fresh(name, under)
        # Links share what is sealed and never written again; they do not reach another file system.
        shutil.copytree(self.workshop.data, place / "data", copy_function=shutil.copy2 if under else os.link)
        return place

    def result(self, place):
        return place / "data" / "synthetic"

    def command(self, place):
        return self.workshop.syncdr("translate", place, data=place / "data") + ["--set", f"translate.cut.weights={self.weights}"]

    def units(self, place):
        return sorted(self.result(place).rglob("unit-*.h5"))

    def expect_whole(self, place):
        super().expect_whole(place)
        for source, target in (("photo", "sketch"), ("sketch", "photo")):
            keys = self.workshop.train_keys(source)
            found = sorted(key for unit in (self.result(place) / f"{source}-to-{target}").rglob("unit-*.h5") for key in keys_in(unit, source))
            # Twice in the file of each row: as /key and as /source/key.
            assert found == sorted(2 * keys), f"{source}: not every image is there exactly once"


class Fit(Task):
    name = "fit"

    def result(self, place):
        return place / "run" / "fit"

    def command(self, place):
        return self.workshop.syncdr("fit", place, "cut")


class Tokens(Task):
    name = "tokens"

    def __init__(self, workshop):
        self.model = workshop.model()
        super().__init__(workshop)

    def result(self, place):
        return place / "run" / "fit"

    def command(self, place):
        return self.workshop.syncdr("fit", place, "textual-inversion") + ["--set", f"fit.textual_inversion.from={self.model}"]


class Train(Task):
    name = "train"

    def result(self, place):
        return place / "run" / "train"

    def command(self, place):
        return self.workshop.syncdr("train", place) + ["--arm", "cds"]


class Pack(Task):
    name, ranks, resumes_on = "pack", None, (None,)

    def result(self, place):
        return place / "data"

    def command(self, place):
        return ["syncdr-data", "pack", self.workshop.pack_pictures(), "-o", place / "data", "--rows", "4", "--size", "96", "--no-disjoint"]


TASKS = {task.name: task for task in (Translate, Fit, Tokens, Train, Pack)}


def keys_in(shard, domain):
    """Keys of a shard, which holds them as plain bytes."""
    return [key.decode() for key in re.findall(domain.encode() + rb"/category-\d\d/\d+\.png", shard.read_bytes())]


class Workshop:
    """A temporary folder with pictures, a packed data set, a configuration, a generator's weights; made when they are first asked for."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-fault-"))
        self.config = self.folder / "small.toml"
        self.config.write_text(CONFIG)
        write_pictures(self.folder / "pictures")
        self.data = self.folder / "data"
        expect(run("syncdr-data", "pack", self.folder / "pictures", "-o", self.data, "--rows", "32", "--no-disjoint"), 0)
        self.tasks = {}

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def task(self, name):
        if name not in self.tasks:
            self.tasks[name] = TASKS[name](self)
        return self.tasks[name]

    def syncdr(self, command, place, *words, data=None):
        settings = {"data.root": data or self.data, "run.out": place / "run", **SETTINGS}
        sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        return ["syncdr", command, *words, self.config, *sets]

    def generator(self):
        """Weights of one direction: the fault tests of translations do not care which."""
        file = self.folder / "weights" / "run" / "fit" / "cut" / "photo-to-sketch" / "generator.safetensors"
        if not file.exists():
            expect(run(*self.syncdr("fit", self.folder / "weights", "cut"), "--set", "fit.cut.steps=1", "--set", "fit.cut.generator.width=12", ranks=2), 0)
        return file

    def model(self):
        """A diffusion model, to learn tokens for."""
        folder = self.folder / "model"
        if not folder.exists():
            expect(run(*self.syncdr("fit", folder, "diffusion"), ranks=2), 0)
        return folder / "run" / "fit" / "diffusion" / "checkpoint"

    def pack_pictures(self):
        """Larger pictures than the others', so that packing takes long enough to be killed in its midst."""
        folder = self.folder / "large-pictures"
        if not folder.exists():
            write_pictures(folder, categories=12, images=2, size=64)
            for picture in list(folder.rglob("*.png")):
                for copy in range(2, 12):
                    os.link(picture, picture.with_name(f"{picture.stem}{copy}.png"))
        return folder

    def train_keys(self, domain):
        return [key for shard in sorted((self.data / "real" / domain).glob("train-*.h5")) for key in keys_in(shard, domain)]


def run_cases(check, names, tasks):
    """check(workshop, name) for each name, two at a time since most of it is waiting; the tasks' undisturbed runs are made first. Returns whether a case
    failed, after all have had their turn."""
    workshop, start, failed = Workshop(), time.monotonic(), 0
    try:
        for task in tasks:
            workshop.task(task)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for case in [pool.submit(check, workshop, name) for name in names]:
                try:
                    case.result()
                except Exception as error:  # whatever it is, the other cases still count
                    failed += 1
                    say(f"FAILED {type(error).__name__} {error}")
    finally:
        workshop.close()
    say(f"{len(names) - failed} of {len(names)} cases, {time.monotonic() - start:.0f} s")
    return failed > 0
