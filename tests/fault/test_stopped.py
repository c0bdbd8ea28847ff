"""A rank that is stopped (SIGSTOP) and does not end: the job is over within the deadline and five seconds, the rank is named, a rerun completes."""
import random
import re
import signal
import sys
import time

from faults import run_cases, say, seed, wait_for

DEADLINE = 4  # the shortest with all the waits of a long one
PATIENCE = 5  # seconds in which the rank is named and the job ended, after the deadline

# name -> command, ranks, the rank that is stopped, where: a fault point, or settings of a job too long to end by itself, stopped a random moment after
# its first checkpoint.
CASES = {
    "a translating rank": ("translate", 2, 1, "file.before_rename,2,1,unit-"),
    "the first translating rank": ("translate", 2, 0, "file.before_fsync,2,0,unit-"),
    "a translating rank of three": ("translate", 3, 2, "claim.created,1,2,unit-"),
    "a training rank": ("train", 2, 1, ["--set", "train.epochs=2000"]),
    "a training rank of three": ("train", 3, 1, ["--set", "train.epochs=2000"]),
    "a fitting rank": ("fit", 2, 1, ["--set", "fit.cut.steps=100000"]),
    "the rank that writes a checkpoint of training": ("train", 2, 0, "checkpoint.before_rename,2,0,"),
    "the rank that writes a checkpoint of a fit": ("fit", 2, 0, "checkpoint.before_fsync,2,0,"),
}


def named(line):
    """Ranks that an error message says are missing. One that was seen waiting is not at fault: another kept it there."""
    if (silent := re.search(r"no sign of life from rank (\d+)", line)) is not None:
        return [int(silent[1])]
    missing = re.search(r"missed its deadline of .*? on rank \d+ \([^)]*\): (.*)", line)
    return [int(rank) for rank in re.findall(r"rank (\d+) \([^)]*\)(?!, last seen waiting)", missing[1])] if missing else []


def stop(job, task, place, rank, where, dice):
    """Returns the moment at which the rank was stopped."""
    if isinstance(where, str):
        stopped, since = job.wait_until_stopped()
        assert stopped == rank, f"rank {stopped} was stopped instead of rank {rank}"
        return since
    wait_for(lambda: list(task.result(place).rglob("step-*/manifest.json")), job, "there is a checkpoint")
    time.sleep(dice.uniform(0, 0.7))
    assert job.send(rank, signal.SIGSTOP), job.output()
    return time.monotonic()


def check(workshop, name):
    command, ranks, rank, where = CASES[name]
    task, dice = workshop.task(command), random.Random(f"{seed()} {name}")
    place = task.fresh(name.replace(" ", "-"))
    at_a_point = isinstance(where, str)
    with task.job(place, "--set", f"comm.deadline={DEADLINE}", *([] if at_a_point else where), ranks=ranks,
                  env={"SYNCDR_FAULT": f"stop,{where}"} if at_a_point else None) as job:
        since = stop(job, task, place, rank, where, dice)
        code = job.wait(DEADLINE + 30)
        seconds = time.monotonic() - since
        output = job.output()
    say(f"{name}: over {seconds:.1f} s after rank {rank} of {ranks} was stopped, exit code {code}")
    assert code == 75, f"{name}: exit code {code}:\n{output}"
    accusations = [ranks for line in output.splitlines() if (ranks := named(line))]
    # The one that was stopped is woken up to be ended, and may then miss others: the first message counts.
    assert accusations and accusations[0] == [rank], f"{name}: rank {rank} is not the one that is named:\n{output}"
    assert seconds < DEADLINE + PATIENCE, f"{name}: over after {seconds:.1f} s, more than {DEADLINE + PATIENCE}:\n{output}"
    if at_a_point:
        task.expect_sealed(place)
        task.finish(place)


if __name__ == "__main__":
    seed()
    sys.exit(run_cases(check, list(CASES), ("translate", "train", "fit")))
