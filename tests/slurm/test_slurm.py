"""The scripts of slurm/ with the program itself on a real SLURM with two nodes, which cluster.py starts: the chain, stops and requeues, equal results."""
import csv
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest
import xml.dom.minidom

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from cluster import HOME, ClusterTest
from standins import versions
from support import SMALL, bytes_of, expect, run, write_pictures

# Enough work that a signal comes in the midst of it, in a run of some seconds.
LONG = {"translate.size": "768", "translate.unit_rows": "2", "translate.batch": "1",
        "train.epochs": "150", "train.checkpoint_every": "100000", "train.validate_every": "100000"}


def sets(values):
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


class Slurm(ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_pictures(cls.folder / "pictures")
        expect(run("syncdr-data", "pack", cls.folder / "pictures", "-o", cls.folder / "data"), 0)
        cls.config = cls.folder / "small.toml"
        cls.config.write_text(f'[data]\nroot = "{cls.folder}/data"\n' + SMALL.replace('["cds", "filter", "cut", "true"]', '["cds", "cut", "filter"]'))

    # What jobs leave

    def units(self, name):
        return {direction: bytes_of(self.folder / "data" / "synthetic" / direction / name) for direction in ("photo-to-sketch", "sketch-to-photo")}

    def encoder(self, out, arm):
        return hashlib.sha256((out / "train" / arm / "encoder.safetensors").read_bytes()).hexdigest()

    def undisturbed(self, command, *arguments, ranks):
        expect(run("syncdr", command, self.config, *arguments, ranks=ranks), 0)

    # Tests

    def test_pipeline_goes_through_and_equals_a_job_without_slurm(self):
        done = self.cluster.run(HOME / "slurm" / "pipeline.sh", self.config, "--ranks", "2", "--array", "2", "--set", "run.out=chain", cwd=self.folder)
        jobs = {name: number for number, name in re.findall(r"^(\d+) +syncdr-(\S+)", done, re.M)}
        self.assertEqual(list(jobs), ["train-cds", "fit-cut", "translate-cut", "train-cut", "translate-filter", "train-filter", "run"])
        self.assertDone(jobs["run"])
        self.assertIn("Prec@1", self.log(jobs["run"]))
        self.undisturbed("run", "--set", f"run.out={self.folder}/alone", ranks=2)
        metrics = [json.loads((self.folder / name / "metrics.json").read_text()) for name in ("chain", "alone")]
        for row in ("cds", "syncdr"):
            self.assertEqual(metrics[0][row]["prec@1"], metrics[1][row]["prec@1"])
        for arm in ("cds", "cut", "filter"):
            self.assertEqual(self.encoder(self.folder / "chain", arm), self.encoder(self.folder / "alone", arm))
        for translator in ("cut", "filter"):
            self.assertGreater(len(self.units(f"alone-{translator}")["photo-to-sketch"]), 1)
            self.assertEqual(self.units(f"chain-{translator}"), self.units(f"alone-{translator}"))

    def test_preempted_training_over_two_nodes_by_srun_ends_with_equal_weights(self):
        arguments = sets({**LONG, "run.out": f"{self.folder}/preempted"})
        job = self.submit("-N2", "phase.sbatch", "train", self.config, "--arm", "cds", *arguments)
        training = self.folder / "preempted" / "train" / "cds"
        self.wait_until(lambda: (training / "log.jsonl").exists(), 60, "the training did not begin")
        self.cluster.run("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
        state = self.assertDone(job, restarts=1)
        self.assertEqual(state["NodeList"], "n[1-2]")
        self.assertRegex(self.log(job), r"signal USR2.*(?s:.*)training: stopped on request after step(?s:.*)stopped on request: .* the queue")
        self.undisturbed("train", "--arm", "cds", *sets({**LONG, "run.out": f"{self.folder}/trained"}), ranks=2)
        self.assertEqual(self.encoder(self.folder / "preempted", "cds"), self.encoder(self.folder / "trained", "cds"))

    def test_signalled_translation_over_two_nodes_by_mpirun_ends_with_equal_units(self):
        arguments = sets({**LONG, "translate.translator": "filter"})
        job = self.submit("-N2", "phase.sbatch", "translate", self.config, *arguments, *sets({"run.out": f"{self.folder}/signalled"}),
                          env={"LAUNCHER": "mpirun", "LAUNCH_OPTIONS": "--bind-to none"})  # the nodes are one host and would tie their ranks to one core
        sealed = lambda: len(self.units("signalled-filter")["photo-to-sketch"])
        self.wait_until(lambda: sealed() >= 2, 60, "the translation did not begin")
        self.cluster.run("scancel", "--batch", "--signal=USR2", job)
        state = self.assertDone(job, restarts=1)
        self.assertEqual(state["NodeList"], "n[1-2]")
        self.assertRegex(self.log(job), r"signal USR2.*(?s:.*)stopped with \d+ of \d+ units to go(?s:.*)stopped on request: back to the queue")
        self.undisturbed("translate", *arguments, *sets({"run.out": f"{self.folder}/translated"}), ranks=2)
        self.assertEqual(self.units("signalled-filter"), self.units("translated-filter"))

    def test_a_killed_rank_costs_a_try_and_not_the_result(self):
        arguments = sets({**LONG, "train.checkpoint_every": "10"})
        job = self.submit("-N2", "phase.sbatch", "train", self.config, "--arm", "cds", *arguments, *sets({"run.out": f"{self.folder}/killed"}),
                          env={"LAUNCH_OPTIONS": "--wait=2"})
        training = self.folder / "killed" / "train" / "cds"
        self.wait_until(lambda: list(training.glob("checkpoints/step-*/manifest.json")), 60, "no checkpoint came")
        os.kill(self.rank(1), signal.SIGKILL)
        self.assertDone(job, restarts=1)
        self.assertRegex(self.log(job), r"rank 1 on n2 was ended by signal \(Killed\)(?s:.*)failure 1 of at most 3: back to the queue")
        self.undisturbed("train", "--arm", "cds", *arguments, *sets({"run.out": f"{self.folder}/unkilled"}), ranks=2)
        self.assertEqual(self.encoder(self.folder / "killed", "cds"), self.encoder(self.folder / "unkilled", "cds"))

    def test_the_jobs_of_an_array_share_a_translation(self):
        arguments = sets({**LONG, "translate.translator": "filter"})
        first = self.submit("--array=1-2", "phase.sbatch", "translate", self.config, *arguments, *sets({"run.out": f"{self.folder}/shared"}))
        tasks = lambda: self.cluster.run("squeue", "--noheader", "--array", "--format=%A", "--states=all", f"--jobs={first}").split()
        self.wait_until(lambda: len(set(tasks())) == 2, 10, "the array has not two jobs")
        jobs = tasks()
        for job in jobs:
            self.assertDone(job)
        self.undisturbed("translate", *arguments, *sets({"run.out": f"{self.folder}/unshared"}), ranks=1)
        self.assertEqual(self.units("shared-filter"), self.units("unshared-filter"))
        self.assertFalse(list((self.folder / "data").rglob("*.claim-*")) + list((self.folder / "data").rglob("*.tmp")))

    def test_bad_data_is_given_up_at_once_and_takes_what_depends_on_it_along(self):
        done = self.cluster.run(HOME / "slurm" / "pipeline.sh", self.config, "--ranks", "2", "--set", "run.out=bad", "--set", "translate.cut.weights=none",
                                "--set", 'run.arms=["cut"]', cwd=self.folder)
        translate, train, last = re.findall(r"^(\d+) ", done, re.M)
        state = self.wait(translate)
        self.assertEqual((state["JobState"], state["ExitCode"], state["Restarts"]), ("FAILED", "65:0", "0"), self.log(translate))
        self.assertIn("exit code 65: giving up", self.log(translate))
        self.assertEqual([self.wait(job)["JobState"] for job in (train, last)], ["CANCELLED", "CANCELLED"])

    def test_a_wrong_key_is_refused_before_anything_is_queued(self):
        before = self.cluster.run("squeue", "--noheader", "--states=all")
        refused = subprocess.run([HOME / "slurm" / "pipeline.sh", self.config, "--set", "run.nowhere=1"], capture_output=True, text=True, env=self.cluster.env)
        expect(refused, 2, 'unknown key "run.nowhere"')
        self.assertEqual(self.cluster.run("squeue", "--noheader", "--states=all"), before)

    def test_a_cancelled_job_stays_cancelled(self):
        job = self.submit("phase.sbatch", "train", self.config, "--arm", "cds", *sets({**LONG, "train.epochs": "100000", "run.out": f"{self.folder}/cancelled"}))
        self.wait_until(lambda: (self.folder / "cancelled" / "train" / "cds" / "log.jsonl").exists(), 60, "the training did not begin")
        self.cluster.run("scancel", job)
        self.assertEqual(self.wait(job)["JobState"], "CANCELLED")
        time.sleep(1)
        state = self.cluster.job(job)
        self.assertEqual((state["JobState"], state["Restarts"]), ("CANCELLED", "0"), self.log(job))

    def test_scaling_leaves_a_table_and_a_drawing(self):
        out = self.folder / "scaling"
        self.cluster.run(HOME / "slurm" / "scaling.sh", self.config, "--phase", "translate", "--nodes", "1 2", "--ranks", "1 2", "--out", out,
                         *sets({"translate.translator": "filter"}), env={"SCALING_POLL": "0.5"}, cwd=self.folder, timeout=120)
        rows = list(csv.DictReader((out / "scaling.csv").read_text().splitlines()))
        self.assertEqual([(row["nodes"], row["ranks"]) for row in rows], [("1", "1"), ("1", "2"), ("2", "2"), ("2", "4")])
        self.assertEqual({row["items"] for row in rows}, {"46"})
        self.assertEqual(float(rows[0]["efficiency"]), 1)
        drawing = xml.dom.minidom.parse(str(out / "scaling.svg"))
        self.assertEqual(len(drawing.getElementsByTagName("circle")), 4)

    def rank(self, number):
        """The process of a rank that srun has started."""
        for process in self.cluster.processes():
            try:
                place = pathlib.Path("/proc") / str(process)
                if f"SLURM_PROCID={number}".encode() in (place / "environ").read_bytes().split(b"\0") and (place / "comm").read_text() == "syncdr\n":
                    return process
            except OSError:
                pass
        self.fail(f"rank {number} is not there")


if __name__ == "__main__":
    print(versions("mpirun", "slurmd"), flush=True)
    unittest.main()
