"""syncdr doctor: what it finds on one and two ranks, what it says of a folder that does not serve, and that `syncdr plan` takes what it measured."""
import json
import os
import pathlib
import shutil
import tempfile
import unittest

from support import expect, run


class Doctor(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-doctor-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)

    def findings(self, *arguments, ranks=None, code=0):
        file = self.folder / "findings.json"
        process = run("syncdr", "doctor", *arguments, "--json", file, ranks=ranks)
        expect(process, code)
        found = {}
        for item in json.loads(file.read_text()):
            found.setdefault(item["what"], []).append(item)
            self.assertIn(item["found"], process.stdout)
        return found

    def test_one_and_two_ranks_find_the_same_things_and_leave_nothing(self):
        out = self.folder / "made"
        for ranks in (None, 2):
            found = self.findings("--folder", out, ranks=ranks)
            for what in ("job", "syncdr", "MPI", "LibTorch", "HDF5", "devices", "links", "memory", "shared memory", "limits", "cores",
                         "folder", "writing", "exclusive", "hard links", "renames", "one view", "locks", "HDF5 files", "clock", "throughput"):
                self.assertIn(what, found)
            for what in ("folder", "writing", "exclusive", "renames", "one view", "HDF5 files"):
                self.assertNotIn("BAD", [item["state"] for item in found[what]], found[what])
            self.assertIn(f"{ranks or 1} rank", found["job"][0]["found"])
            self.assertEqual(len(found["exclusive"]), 1, "ranks that found the same share a line")
            self.assertFalse(out.exists(), "a folder that was not there is gone again")
            self.assertEqual("all-reduce" in found, ranks is not None)
        here = self.folder / "here"
        here.mkdir()
        self.findings("--folder", here, ranks=2)
        self.assertEqual(list(here.iterdir()), [])

    def test_plan_takes_what_it_measured(self):
        figures = self.findings("--folder", self.folder, ranks=2)["all-reduce"][0]["figures"]
        self.assertGreater(figures["latency_us"], 0)
        self.assertGreater(figures["bandwidth_gb"], 0)
        planned = self.folder / "plan.json"
        job = ["--steps", "100", "--images-per-step", "64", "--seconds-per-image", "0.01", "--parameters", "1000000", "--ranks", "1,2,128"]
        expect(run("syncdr", "plan", "train", "--measured", self.folder / "findings.json", *job, "--json", planned, "--plot", self.folder / "plan.svg"), 0,
               "efficiency")
        plan = json.loads(planned.read_text())
        self.assertIn(f"bandwidth_gb = {figures['bandwidth_gb']}", plan["configuration"])
        self.assertEqual([point["ranks"] for point in plan["points"]], [1, 2], "64 images cannot be shared by 128 ranks")
        self.assertTrue((self.folder / "plan.svg").read_text().startswith("<svg"))

    def test_a_folder_that_cannot_be_written_is_bad_on_one_and_two_ranks(self):
        file = self.folder / "file"
        file.write_text("not a folder")
        for folder in (file, file / "below", "/proc/syncdr", "/proc"):  # also for root, who may write everywhere else
            for ranks in (None, 2):
                found = self.findings("--folder", folder, ranks=ranks, code=74)
                self.assertEqual([item["state"] for item in found["folder"]], ["BAD"])
                self.assertIn(str(folder), found["folder"][0]["found"])
                self.assertIn("--folder", found["folder"][0]["mend"])
                self.assertNotIn("writing", found)

    def test_more_threads_than_cores_are_noted(self):
        threads = len(os.sched_getaffinity(0)) + 1
        process = run("syncdr", "doctor", "--folder", self.folder, env={"OMP_NUM_THREADS": str(threads)})
        expect(process, 0, "more threads than cores", f"OMP_NUM_THREADS={threads}")

    def test_tasks_that_mpi_does_not_know_are_bad(self):
        process = run("syncdr", "doctor", "--folder", self.folder, env={"SLURM_STEP_NUM_TASKS": "4"})
        expect(process, 74, "the launcher started 4 tasks", "--mpi=pmix")

    def test_plan_says_what_is_missing_or_wrong(self):
        expect(run("syncdr", "plan", "translate"), 2, "--images is missing")
        expect(run("syncdr", "plan", "train", "--steps", "10", "--images-per-step", "-1"), 2, "images_per_step = -1 is out of range")
        expect(run("syncdr", "plan", "translate", "--measured", "nowhere.json"), 2, "nowhere.json")
        expect(run("syncdr", "plan"), 2, "subcommand")


if __name__ == "__main__":
    unittest.main()
