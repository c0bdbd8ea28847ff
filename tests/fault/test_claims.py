"""Claims on units: of dead jobs, of living ones, under clocks that are two hours off."""
import json
import os
import pathlib
import signal
import threading
import time
import unittest

from faults import CODES_OF_A_KILL, Job, Workshop, left_overs, say, wait_for

TWO_HOURS = 7200


def claims(folder):
    """The claims under a folder; one that is still being written aside is none yet."""
    names = ((place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(pathlib.Path(place) / name for place, name in names if ".claim-" in name and not name.endswith(".tmp"))


def make_foreign(claim):
    """A claim's first line is MACHINE-PROCESS-START. Of another machine's processes nobody here knows whether they live."""
    machine, *rest = claim.read_text().split("-")
    claim.write_text("-".join(["0" * len(machine), *rest]))


def shift(path, seconds):
    """A clock that is off, as seen by whoever reads the file's times."""
    try:
        os.utime(path, (time.time() + seconds, time.time() + seconds))
    except FileNotFoundError:
        pass  # released meanwhile


class Shifter(threading.Thread):
    """Shifts the times of all claims in a folder, now two hours into the past, now into the future, while it runs; notes names of claims."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.seen, self.going = folder, set(), True

    def run(self):
        side = 1
        while self.going:
            for claim in claims(self.folder):
                self.seen.add(claim.name)
                shift(claim, side * TWO_HOURS)
            side = -side
            time.sleep(0.02)

    def stop(self):
        self.going = False
        self.join()


class Claims(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.workshop = Workshop()
        cls.addClassCleanup(cls.workshop.close)
        cls.task = cls.workshop.task("translate")

    def after_a_kill(self, name="place"):
        """A place where a job has died that held claims, and the claims."""
        place = self.task.fresh(f"{self.id()}-{name}")
        with self.task.job(place, env={"SYNCDR_FAULT": "kill,claim.created,3,1,unit-"}) as job:
            job.expect(CODES_OF_A_KILL)
        found = claims(self.task.result(place))
        self.assertTrue(found, "the job has left no claim")
        return place, found

    def test_a_claim_of_a_dead_job_of_this_machine_is_taken_over_at_once(self):
        place, _ = self.after_a_kill()
        start = time.monotonic()
        self.task.finish(place, arguments=["--set", "translate.claim_timeout=600"])
        self.assertLess(time.monotonic() - start, 30)

    def test_a_claim_that_nobody_touches_is_taken_over_after_the_timeout_whatever_its_times_are(self):
        for name, seconds in (("future", TWO_HOURS), ("past", -TWO_HOURS)):
            with self.subTest(name):
                place, found = self.after_a_kill(name)
                for claim in found:
                    make_foreign(claim)
                found[-1].write_text("")  # killed before a word was written
                for claim in found:
                    shift(claim, seconds)
                start = time.monotonic()
                self.task.finish(place, arguments=["--set", "translate.claim_timeout=3"])
                took = time.monotonic() - start
                say(f"claims from the {name}: taken over, all done after {took:.1f} s")
                self.assertGreater(took, 3)
                self.assertLess(took, 30)

    def test_a_claim_that_its_owner_touches_is_respected_as_long_as_it_does(self):
        place, found = self.after_a_kill()
        for claim in found:
            make_foreign(claim)
        owner = Shifter(self.task.result(place))
        with self.task.job(place, "--set", "translate.claim_timeout=2") as job:
            owner.start()
            time.sleep(self.task.duration + 6)
            self.assertIsNone(job.process.poll(), f"did not wait for the claims' owner:\n{job.output()}")
            self.assertEqual([name for name in owner.seen if not name.endswith("-0")], [], "a living claim was taken over")
            owner.stop()
            job.expect(0)
        self.task.expect_whole(place)

    def figures(self, place, name):
        return json.loads((place / name).read_text())

    def test_two_jobs_of_one_rank_share_a_translation(self):
        place = self.task.fresh(self.id())
        shifter = Shifter(self.task.result(place))
        shifter.start()
        self.addCleanup(shifter.stop)
        command = [*self.task.command(place), "--set", "translate.claim_timeout=2"]
        with Job([*command, "--json", place / "a.json"], ranks=1) as a, Job([*command, "--json", place / "b.json"], ranks=1) as b:
            a.expect(0)
            b.expect(0)
        shifter.stop()
        self.task.expect_whole(place)
        made = [sum(direction["images"] for direction in self.figures(place, name).values()) for name in ("a.json", "b.json")]
        say(f"two jobs: {made[0]} and {made[1]} images")
        wanted = sum(len(self.workshop.train_keys(domain)) for domain in ("photo", "sketch"))
        self.assertTrue(all(made), f"one of the jobs was of no use: {made}")
        self.assertEqual(sum(made), wanted, "images were made twice, or by nobody")
        self.assertEqual([name for name in shifter.seen if not name.endswith("-0")], [], "a living job's claim was taken over")

    def test_a_job_beside_one_that_is_killed_makes_all_that_is_left(self):
        place = self.task.fresh(self.id())
        with self.task.job(place, ranks=1, env={"SYNCDR_FAULT": "kill,claim.created,6,,unit-"}) as killed, self.task.job(place, ranks=1) as other:
            killed.expect(CODES_OF_A_KILL)
            other.expect(0, timeout=30)  # sooner than the timeout: its owner is known to be gone
        self.task.expect_whole(place)

    def test_a_job_that_was_stopped_and_goes_on_later_does_no_harm(self):
        place = self.task.fresh(self.id())
        with self.task.job(place, "--set", "translate.claim_timeout=2", ranks=1, env={"SYNCDR_FAULT": "stop,file.before_rename,2,0,unit-"}) as sleeper:
            rank, _ = sleeper.wait_until_stopped()
            with self.task.job(place, "--set", "translate.claim_timeout=2", ranks=1) as other:
                other.expect(0)
            sealed = {unit: unit.stat().st_mtime_ns for unit in self.task.units(place)}
            self.assertTrue(sleeper.send(rank, signal.SIGCONT))
            sleeper.expect(0)
        self.task.expect_whole(place)
        self.assertEqual({unit: unit.stat().st_mtime_ns for unit in sealed}, sealed, "what another job had sealed was replaced")

    def test_a_job_that_is_asked_to_stop_gives_its_claims_up(self):
        place = self.task.fresh(self.id())
        with self.task.job(place) as job:
            wait_for(lambda: len(self.task.units(place)) > 2, job, "units are sealed")
            for rank in range(2):
                job.send(rank, signal.SIGUSR2)
            job.expect(85)
        self.assertEqual(left_overs(self.task.result(place)), [])
        self.task.expect_sealed(place)
        self.task.finish(place)


if __name__ == "__main__":
    unittest.main()
