"""The scripts of slurm/ with stand-ins for the program on a real SLURM with two nodes, which cluster.py starts: what each end of a rank, each signal and
each option does to the job, by srun and by mpirun alike. Jobs run side by side, since most of their time is waiting."""
import re
import time
import unittest

from cluster import ClusterTest
from standins import build_ranks, versions

RANK = "${OMPI_COMM_WORLD_RANK:-$PMIX_RANK}"
LAUNCHERS = ("srun", "mpirun")
OTHERS_WAIT = f"[ {RANK} = 0 ] && exec sleep 30; sleep 0.5"
# The nodes are one host, and mpirun's daemons would tie their ranks to the same core.
UNTIED = {"srun": "--wait=5", "mpirun": "--bind-to none"}
# The program takes longer to load its libraries. Where the ranks of two daemons on one host are over at once, mpirun 5.0.7 may wait for ever
# (launch/README.md).
LOADS = "sleep 0.4"


class Jobs(ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        build_ranks(cls.folder)

    def job(self, launcher, text, *arguments, tries=1, options=None):
        """A job of two nodes with a stand-in for the program, which finds its folder in $folder."""
        program = text if "/" in text and "\n" not in text and " " not in text else self.program(f"{LOADS}\nfolder=$(dirname $0)\n{text}")
        return self.submit("-N2", *arguments, "phase.sbatch", "translate", "none.toml",
                           env={"LAUNCHER": launcher, "TRIES": str(tries), "SYNCDR_BIN": str(program),
                                "LAUNCH_OPTIONS": UNTIED[launcher] if options is None else options})

    def assertEnds(self, job, state, code, restarts, said="."):
        known = self.wait(job)
        self.assertEqual((known["JobState"], known["ExitCode"], known["Restarts"]), (state, f"{code}:0", str(restarts)), self.log(job))
        self.assertRegex(self.log(job), said)

    def each(self, *arguments, **options):
        """The same job by each launcher: (launcher, job id)."""
        return [(launcher, self.job(launcher, *arguments, **options)) for launcher in LAUNCHERS]

    def up(self, job, count=2):
        self.wait_until(lambda: self.log(job).count("is up") == count, 60, f"the ranks of job {job} did not come up")

    def test_a_killed_rank_is_named_and_costs_a_try(self):
        jobs = self.each(f'[ -e $folder/tried ] && exit 0; {OTHERS_WAIT}; touch $folder/tried; kill -9 $$', tries=3)
        jobs_of_mpi = self.each(f"exec {self.folder}/ranks kill 9")
        for launcher, job in jobs:
            with self.subTest(launcher):
                self.assertEnds(job, "COMPLETED", 0, 1, r"rank 1 on n2 was ended by signal .*Killed(?s:.*)failure 1 of at most 3: back to the queue")
        for launcher, job in jobs_of_mpi:
            with self.subTest(launcher):
                self.assertEnds(job, "FAILED", 75, 0, r"rank 1 on n2 was ended by signal .*Killed(?s:.*)failure 1 of at most 1: giving up")

    def test_a_crash_is_given_up_as_a_bug(self):
        for launcher, job in self.each(f"{OTHERS_WAIT}; kill -SEGV $$", tries=3) + self.each(f"exec {self.folder}/ranks kill 11", tries=3):
            with self.subTest(launcher):
                self.assertEnds(job, "FAILED", 70, 0, r"rank 1 on n2 was ended by signal .*Segmentation fault.*: a bug(?s:.*)giving up")

    def test_exit_codes_are_the_jobs(self):
        jobs = [(code, *pair) for code in (2, 65, 74) for pair in self.each(f"{OTHERS_WAIT}; echo row 7 is broken >&2; exit {code}", tries=3)]
        jobs += [(65, *pair) for pair in self.each(f"exec {self.folder}/ranks abort 65", tries=3)]
        tried = self.each(f"exec {self.folder}/ranks abort 75", tries=2)
        for code, launcher, job in jobs:
            with self.subTest(launcher=launcher, code=code):
                self.assertEnds(job, "FAILED", code, 0, f"exit code {code}: giving up")
                self.assertLessEqual(len(self.log(job).splitlines()), 4, self.log(job))  # start, the rank's line, ours; srun on the test's cluster: no cpu binding
        for launcher, job in tried:
            with self.subTest(launcher=launcher):
                self.assertEnds(job, "FAILED", 75, 1, "failure 1 of at most 2: back to the queue(?s:.*)failure 2 of at most 2: giving up")

    STOPS = f'[ $SLURM_RESTART_COUNT ] && exit 0; trap "echo {RANK} stops; exit 85" USR2; trap "" TERM; echo {RANK} is up; while :; do sleep 0.1; done'

    def test_a_stop_signal_saves_and_requeues(self):
        jobs = self.each(self.STOPS)
        for launcher, job in jobs:
            self.up(job)
            self.cluster.run("scancel", "--batch", "--signal=USR2", job)
        for launcher, job in jobs:
            with self.subTest(launcher):
                self.assertEnds(job, "COMPLETED", 0, 1, "stopped on request: back to the queue(?s:.*)done")
                self.assertEqual(len(re.findall("[01] stops", self.log(job))), 2, self.log(job))

    def test_a_stop_that_comes_before_the_ranks_is_not_lost(self):
        jobs = self.each("[ $SLURM_RESTART_COUNT ] && exit 0; trap 'exit 85' USR2; for i in {1..300}; do sleep 0.1; done")
        for launcher, job in jobs:
            self.wait_until(lambda: "2 nodes" in self.log(job), 60, f"job {job} did not begin")
            self.cluster.run("scancel", "--batch", "--signal=USR2", job)
        for launcher, job in jobs:
            with self.subTest(launcher):
                self.assertEnds(job, "COMPLETED", 0, 1, "stopped on request: back to the queue")

    def test_a_cancelled_job_stays_cancelled(self):
        jobs = self.each(self.STOPS.replace("[ $SLURM_RESTART_COUNT ] && exit 0; ", "").replace("stops", "stops >> $folder/stopped-$SLURM_JOB_ID"))
        for launcher, job in jobs:
            self.up(job)
            self.cluster.run("scancel", job)
        for launcher, job in jobs:
            with self.subTest(launcher):
                self.assertEqual(self.wait(job)["JobState"], "CANCELLED")
                self.wait_until(lambda: "signal TERM: the ranks are asked to save their state" in self.log(job), 15, self.log(job))
        # Slurm sends TERM to all processes of the job. mpirun takes it as an order to kill; under srun the ranks have the cluster's KillWait.
        stopped = lambda: "".join(file.read_text() for file in self.folder.rglob(f"stopped-{jobs[0][1]}"))
        self.wait_until(lambda: stopped().count("stops") == 2, 15, f"not both ranks stopped: {stopped()}")
        time.sleep(7)  # longer than a requeued job waits
        for launcher, job in jobs:
            state = self.cluster.job(job)
            self.assertEqual((state["JobState"], state["Restarts"]), ("CANCELLED", "0"), self.log(job))

    def test_a_preempted_job_has_a_second_life_and_no_third(self):
        for launcher in LAUNCHERS:  # each needs both nodes
            with self.subTest(launcher):
                job = self.job(launcher, self.STOPS)
                self.up(job)
                self.cluster.run("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
                self.assertEnds(job, "COMPLETED", 0, 1, "stopped on request: .* the queue(?s:.*)done")
                time.sleep(3)
                self.assertEnds(job, "COMPLETED", 0, 1)

    def test_one_job_of_an_array_is_requeued_for_itself(self):
        first = self.job("srun", "[ $SLURM_RESTART_COUNT ] || exit 85", "--array=1-2")
        jobs = lambda: set(self.cluster.run("squeue", "--noheader", "--array", "--format=%A", "--states=all", f"--jobs={first}").split())
        self.wait_until(lambda: len(jobs()) == 2, 10, "the array has not two jobs")
        for job in jobs():
            self.assertDone(job, restarts=1)

    def test_what_cannot_be_started_is_given_up(self):
        jobs = self.each("/none", tries=3)
        jobs += [(launcher, self.job(launcher, "true", options="--no-such-option", tries=3)) for launcher in LAUNCHERS]
        jobs += [("srun", self.job("srun", "true", options="--mpi=none-such", tries=3)), ("mpirun", self.job("mpirun", "true", options="--bind-to nothing", tries=3))]
        for launcher, job in jobs:
            with self.subTest(launcher=launcher):
                self.assertEnds(job, "FAILED", 2, 0, f"{launcher} did not start the job .*(?s:.*)giving up")

    def test_options_given_win(self):
        text = f'echo "rank {RANK} ${{MODE:-}}"'
        for launcher, options, ranks in (("mpirun", "--bind-to none --map-by slot", 2), ("mpirun", "--bind-to core --bind-to none", 2), ("mpirun", "-np 2 -np 1", 1),
                                         ("mpirun", "--map-by ppr:1:node:PE=2 --bind-to core", 2), ("mpirun", "--bind-to none -np 6 --oversubscribe", 6),
                                         ("srun", "--cpu-bind=cores --cpu-bind=none", 2), ("srun", "--mpi=none --mpi=pmix", 2), ("srun", "-n 2 -n 1 -N1", 1),
                                         ("srun", "--overcommit -n 6", 6)):
            with self.subTest(launcher=launcher, options=options):
                job = self.job(launcher, text, options=options)
                self.assertDone(job)
                self.assertEqual(len(re.findall("^rank", self.log(job), re.M)), ranks, self.log(job))

    def test_more_ranks_than_gpus_are_refused(self):
        job = self.submit("--ntasks-per-node=2", "--gpus-per-node=1", "phase.sbatch", "train", "none.toml", env={"SYNCDR_BIN": str(self.program("true"))})
        self.assertEqual(self.wait(job)["ExitCode"], "2:0", self.log(job))
        self.assertIn("2 ranks for 1 GPUs per node", self.log(job))

    def test_each_rank_has_its_cores_and_its_gpu(self):
        program = self.program('echo "rank $SLURM_PROCID: threads $OMP_NUM_THREADS, GPUs ${CUDA_VISIBLE_DEVICES-none}"')
        seen = {}
        for name, options in {"translate": ["--gpus-per-node=2", "--ntasks-per-node=2"], "train": ["--gpus-per-node=2", "--ntasks-per-node=2"],
                              "fit": ["--cpus-per-task=2"]}.items():
            job = self.submit(*options, "phase.sbatch", name, "none.toml", env={"SYNCDR_BIN": str(program)})
            self.assertDone(job)
            seen[name] = sorted(re.findall(r"^rank .*", self.log(job), re.M))
        self.assertEqual(seen, {"translate": ["rank 0: threads 1, GPUs 0", "rank 1: threads 1, GPUs 1"],
                                "train": ["rank 0: threads 1, GPUs 0,1", "rank 1: threads 1, GPUs 0,1"],
                                "fit": ["rank 0: threads 2, GPUs none"]})


if __name__ == "__main__":
    print(versions("mpirun", "slurmd"), flush=True)
    unittest.main()
