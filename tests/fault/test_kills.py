"""test_kills.py COMMAND: a random rank is killed at a random moment, again and again; the run that may end at last leaves the bytes of an undisturbed one.

SYNCDR_KILLS says how many kills there are over all commands (52), SYNCDR_SEED repeats their moments.
"""
import concurrent.futures
import os
import random
import shutil
import signal
import sys
import threading
import time

from faults import CODES_OF_A_KILL, Workshop, say, seed

SHARES = {"translate": 18, "fit": 12, "train": 12, "pack": 10}  # of 52
MOST_IN_A_ROW = 5  # then the run may end
AT_A_TIME = 2      # most of a killed job's life is waiting: for its start, for its end


class Kills:
    """How many are left."""

    def __init__(self, wanted):
        self.left, self.done, self.lock = wanted, 0, threading.Lock()

    def take(self):
        with self.lock:
            if self.left == 0:
                return False
            self.left -= 1
            return True

    def put_back(self):
        with self.lock:
            self.left += 1

    def count(self):
        with self.lock:
            self.done += 1
            return self.done


def kill(job, dice, moment):
    """Kills a rank so many seconds after the job's start. Returns the rank, or None if the job was over before."""
    time.sleep(max(0, job.started + moment - time.monotonic()))
    while ranks := job.wait_for_ranks():
        rank = dice.choice(sorted(ranks))
        if job.send(rank, signal.SIGKILL):
            return rank
    return None


def disturb(task, place, dice, kills):
    """One killed run. False: it came to its end before the kill."""
    moment = dice.uniform(0, task.duration)
    with task.job(place, ranks=dice.choice(task.resumes_on)) as job:
        rank = kill(job, dice, moment)
        if rank is None:
            job.expect(0)
            return False
        at = time.monotonic() - job.started
        codes = CODES_OF_A_KILL if task.ranks else -signal.SIGKILL
        code = job.wait()
        if code == 0:  # its last instruction was behind it
            return False
        job.expect(codes)
    task.expect_sealed(place)
    say(f"{task.name}: kill {kills.count()}, {place.name}: rank {rank} of {job.size} after {at:.2f} s, exit code {code}")
    return True


def chain(task, number, kills):
    """A folder of its own: kills in a row, then the run that may end."""
    dice = random.Random(f"{seed()} {task.name} {number}")
    place = task.fresh(f"chain-{number}")
    for _ in range(MOST_IN_A_ROW):
        if not kills.take():
            break
        if not disturb(task, place, dice, kills):
            kills.put_back()
            break
    task.finish(place)
    shutil.rmtree(place)


def chains(task, kills, numbers):
    while True:
        with kills.lock:
            if kills.left == 0:
                return
            number = next(numbers)
        chain(task, number, kills)


def main(name):
    start = time.monotonic()
    wanted = max(1, round(int(os.environ.get("SYNCDR_KILLS", "52")) * SHARES[name] / sum(SHARES.values())))
    say(f"{name}: {wanted} kills")
    seed()
    workshop = Workshop()
    try:
        task = workshop.task(name)
        kills, numbers = Kills(wanted), iter(range(1_000_000))
        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            workers = [pool.submit(chains, task, kills, numbers) for _ in range(AT_A_TIME)]
            for worker in workers:
                worker.result()
    finally:
        workshop.close()
    say(f"{name}: {kills.done} kills, every chain of them ended with the undisturbed bytes; {time.monotonic() - start:.0f} s")
    assert kills.done >= wanted, f"only {kills.done} of {wanted} kills came in time"


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SHARES:
        sys.exit(f"usage: test_kills.py {'|'.join(SHARES)}")
    main(sys.argv[1])
