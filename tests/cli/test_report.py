"""The report of a run, made anew, and the page that compares runs; folders that are no runs."""
import contextlib
import json
import pathlib
import re
import shutil
import tempfile
import unittest

from support import SMALL, expect, run, write_pictures


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-report-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        write_pictures(cls.folder / "pictures", categories=6)
        expect(run("syncdr-data", "pack", cls.folder / "pictures", "-o", cls.folder / "data"), 0)
        cls.config = cls.folder / "small.toml"
        cls.config.write_text(SMALL.replace('arms = ["cds", "filter", "cut", "true"]', 'arms = ["cds", "filter"]\nmain = "filter"')
                              + "[data]\nroot = \"data\"\n")
        for name, epochs, ranks in (("one", 1, 2), ("two", 2, 1)):
            with contextlib.chdir(cls.folder):  # reports are made from elsewhere
                expect(run("syncdr", "run", cls.config, "--set", f"run.out={cls.folder / name}", "--set", f"train.epochs={epochs}", ranks=ranks), 0)
            first = (cls.folder / name / "config.toml").read_text().splitlines()[0]
            assert first == f"# Relative paths are those of the folder in which the run was started: {cls.folder}", first

    def test_the_page_says_how_the_run_was_made(self):
        page = (self.folder / "one" / "report.html").read_text()
        for heading in ("Results", "Retention", "Pairs", "Retrieval", "Categories", "Features, before and after training", "Training", "Time and cost",
                        "How to repeat this", "Left out"):
            self.assertTrue(re.search(f"<h2 id=\"[a-z]+\">{heading}</h2>", page), heading)
        for target in re.findall(r'href="#([^"]*)"', page):
            self.assertTrue(f'id="{target}"' in page, target)
        for what in ("<mark>epochs = 1</mark>", "kept worst", "2 ranks on 1 host, 2 compute threads of ", r"LibTorch \d+\.\d+\.\d+.*syncdr \d+\.\d+\.\d+",
                     r'category-0\d<span class="tag">\d+ quer(y|ies)</span>'):
            self.assertTrue(re.search(what, page), f"{what} is not on the page")
        self.assertEqual(page.count('class="plot map"'), 2)
        calls = {path.name.split("-")[0]: json.loads(path.read_text()) for path in (self.folder / "one" / "calls").glob("*.json")}
        self.assertEqual(set(calls), {"translate", "train", "evaluate.json"})
        self.assertEqual(calls["train"]["ranks"], 2)
        steps = json.loads((self.folder / "one" / "train" / "filter" / "done.json").read_text())
        (trained,) = (self.folder / "one" / "calls").glob("train-filter-*.json")
        self.assertEqual(json.loads(trained.read_text())["images"], steps["steps"] * steps["images_per_step"])
        self.assertGreater(calls["translate"]["images"], 0)
        self.assertTrue(list((self.folder / "one" / "train" / "cds").glob("events.out.tfevents.*")))

    def test_a_single_run_gets_its_report_anew_and_nothing_else_is_done(self):
        out = self.folder / "one"
        before, calls = (out / "metrics.json").read_text(), sorted(path.name for path in (out / "calls").iterdir())
        (out / "report.html").unlink()
        expect(run("syncdr", "report", out), 0, "Prec@1")
        self.assertTrue((out / "report.html").exists())
        self.assertEqual((out / "metrics.json").read_text(), before)
        self.assertEqual(sorted(path.name for path in (out / "calls").iterdir()), calls)

    def test_a_folder_may_end_in_a_slash_or_be_called_as_a_number(self):
        (self.folder / "2026").symlink_to("one")
        for name, inside in (("one/", self.folder), ("2026", self.folder), (".", self.folder / "one")):
            with contextlib.chdir(inside):
                expect(run("syncdr", "report", name), 0, "Prec@1")

    def test_a_call_after_a_kill_counts_the_steps_that_it_does_again(self):
        training, calls = self.folder / "two" / "train" / "filter", self.folder / "two" / "calls"
        before = set(calls.glob("train-filter-*.json"))
        steps = sorted(int(path.name.split("-")[1]) for path in (training / "checkpoints").glob("step-*"))
        record = json.loads((training / "done.json").read_text())
        self.assertEqual(steps[-1], record["steps"])
        shutil.rmtree(training / "checkpoints" / f"step-{steps[-1]}")  # as killed after its last step, before that was saved
        (training / "done.json").unlink()
        with contextlib.chdir(self.folder):
            expect(run("syncdr", "train", self.config, "--set", f"run.out={self.folder / 'two'}", "--set", "train.epochs=2"), 0)
        (call,) = set(calls.glob("train-filter-*.json")) - before
        self.assertEqual(json.loads(call.read_text())["images"], (steps[-1] - steps[-2]) * record["images_per_step"])

    def test_runs_are_compared_by_arms_settings_and_differences(self):
        page, figures = self.folder / "pages" / "both.html", self.folder / "both.json"
        expect(run("syncdr", "report", self.folder / "one", self.folder / "two", "-o", page, "--json", figures), 0, "filter of two less one:")
        said = json.loads(figures.read_text())
        self.assertEqual(said["settings"], {"train.epochs": ["1", "2"]}, "not where runs lie, nor where they were started")
        self.assertEqual([(entry["arm"], entry["run"]) for entry in said["differences"]], [("cds", "two"), ("filter", "two")])
        metrics = [json.loads((self.folder / name / "metrics.json").read_text())["syncdr"]["prec@1"]["mean"] for name in ("one", "two")]
        self.assertAlmostEqual(said["differences"][1]["prec@1"]["mean"], metrics[1] - metrics[0])
        text = page.read_text()
        for part in ("<code>train.epochs</code>", "filter: loss", "Time and cost"):
            self.assertTrue(part in text, part)

    def test_what_is_no_run_is_refused_by_name(self):
        one, empty, begun = self.folder / "one", self.folder / "empty", self.folder / "begun"
        for folder in (empty, begun):
            folder.mkdir(exist_ok=True)
        shutil.copy(one / "config.toml", begun)
        expect(run("syncdr", "report"), 2, "runs")
        for arguments, code, texts in (((self.folder / "nowhere",), 65, ("nowhere: there is no such folder",)),
                                       ((empty,), 65, ("empty: no run's folder", "config.toml")),
                                       ((begun,), 65, ("begun/train/cds/done.json is not there", "not trained to its end")),
                                       ((one, begun), 65, ("begun: the run is not finished", "metrics.json")),
                                       ((one, empty), 65, ("empty: no run's folder",)),
                                       ((one, one), 2, ("is named twice",)),
                                       ((one, "-o", "page.html"), 2, ("--out",))):
            expect(run("syncdr", "report", *arguments), code, *texts)


if __name__ == "__main__":
    unittest.main()
