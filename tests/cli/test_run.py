"""The whole job on small pictures: every phase, its results, and that a repeated or killed run ends with the same bytes."""
import json
import pathlib
import random
import shutil
import subprocess
import tempfile
import time
import unittest

from support import BIN, MPIRUN, SMALL, bytes_of, expect, ranks_of, run, write_pictures


class WholeJob(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-run-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        expect(run("syncdr-data", "emoji", "-o", cls.folder / "emoji", "--size", "32"), 0)
        cls.config = cls.folder / "small.toml"
        cls.config.write_text(SMALL)

    def job(self, command, name, *arguments, ranks):
        return run("syncdr", command, self.config, "--set", f"data.root={self.folder / 'emoji'}", "--set", f"run.out={self.folder / name}", *arguments, ranks=ranks)

    def test_every_phase_leaves_its_result_and_a_second_call_skips_them(self):
        arms = ["--set", 'run.arms=["untrained", "centred", "cds", "filter", "cut", "true"]']
        expect(self.job("run", "full", *arms, "--json", self.folder / "full.json", ranks=2), 0, "CDS", "Prec@1", "Encoder untrained (random weights)",
               "less CDS (real images alone)", "less Encoder untrained (random weights)", "full-filter")
        out = self.folder / "full"
        metrics = json.loads((out / "metrics.json").read_text())
        for row in (metrics["cds"], metrics["syncdr"], metrics["controls"]["filter"], metrics["controls"]["true"]):
            for figure in ("prec@1", "prec@5", "prec@15", "prec@200", "recall@5", "map"):
                figures = row[figure]
                self.assertEqual(figures["protocol"], "syncdr")
                self.assertAlmostEqual(figures["mean"], (figures["a_to_b"] + figures["b_to_a"]) / 2)
                low, high = figures["a_to_b_interval"]
                self.assertTrue(0 <= low <= figures["a_to_b"] <= high <= 1)
        arms_of = {"cds": metrics["cds"], "syncdr": metrics["syncdr"], **metrics["controls"]}
        self.assertEqual(set(arms_of), {"cds", "syncdr", "filter", "true", "untrained", "centred"})
        for name, row in arms_of.items():
            for reference in ("cds", "untrained"):
                self.assertEqual(f"vs_{reference}" in row, name != reference)
                if name == reference:
                    continue
                difference = row[f"vs_{reference}"]
                self.assertEqual(difference["unit"], "categories", "the set has 1,140")
                for figure in ("mean", "a_to_b", "b_to_a"):
                    value = difference["prec@5"][figure]
                    self.assertAlmostEqual(value, row["prec@5"][figure] - arms_of[reference]["prec@5"][figure])
                    low, high = difference["prec@5"][f"{figure}_interval"]
                    self.assertTrue(low <= value <= high)
        for name in ("untrained", "centred"):
            self.assertEqual(arms_of[name]["best_epoch"], 0)
            self.assertGreater(arms_of[name]["validation"], 0)
            self.assertFalse((out / "train" / name).exists(), "there is nothing to train")
        self.assertNotEqual(arms_of["untrained"]["prec@15"], arms_of["centred"]["prec@15"])
        retention = {(entry["set"], entry["source"]): entry for name in ("filter", "syncdr", "true") for entry in arms_of[name]["retention"]}
        self.assertEqual(set(retention), {(set_, source) for set_ in ("full-filter", "full-cut", "true") for source in ("colour", "ink")})
        self.assertNotIn("retention", arms_of["cds"])
        for entry in retention.values():
            self.assertEqual(entry["pairs"], 570)
            self.assertTrue(0 <= entry["source_at_1"] <= entry["source_reciprocal_rank"] <= 1)
        self.assertIn("size = 32", metrics["settings"]["configuration"])
        weights = (out / "train" / "cds" / "encoder.safetensors").read_bytes()
        tensors = json.loads(weights[8:8 + int.from_bytes(weights[:8], "little")])
        trained = json.loads((self.folder / "full.json").read_text())["train cds"]
        self.assertEqual(trained["batch_norm_layers"], sum(name.endswith("running_mean") for name in tensors), "what `syncdr plan` reads")
        page = (out / "report.html").read_text()
        for outside in ("src=\"http", "src=\"/", "url(", "<script", "<link"):  # a link to follow is fine, a thing to load is not
            self.assertFalse(outside in page, f"the report is not self-contained: it holds {outside}")
        self.assertGreater(page.count("data:image/png;base64,"), 4)

        sealed = {file: file.stat().st_mtime_ns for file in self.folder.rglob("*") if file.suffix in (".h5", ".safetensors")}
        before = (out / "metrics.json").read_text()
        expect(self.job("run", "full", *arms, ranks=2), 0)
        self.assertEqual(before, (out / "metrics.json").read_text())
        self.assertEqual(sealed, {file: file.stat().st_mtime_ns for file in sealed})

        # Each alone, as a user would look before training.
        expect(self.job("retention", "full", "--arm", "filter", "--json", self.folder / "retention.json", ranks=1), 0, "full-filter")
        alone = json.loads((self.folder / "retention.json").read_text())["retention"]
        self.assertEqual(alone, arms_of["filter"]["retention"], "on one rank as on two")
        expect(self.job("retention", "full", "--arm", "cds", ranks=1), 2, "none of the arms cds has translations")
        drop = ["--set", "train.retention=drop", "--set", "train.epochs=1", "--arm", "true"]
        expect(self.job("train", "dropped", *drop, "--set", "train.retention_threshold=0.2", ranks=1), 0, "of 1140 pairs of true are left out")
        self.assertEqual(len(list((self.folder / "dropped/features/retention").glob("true-*.safetensors"))), 1)
        weight = ["--set", "train.epochs=1", "--arm", "filter+true", "--set", "train.retention=weight"]
        expect(self.job("train", "full", *weight, ranks=2), 0, "pairs of true count with weights of", "pairs of full-filter count with weights of")
        expect(self.job("train", "full", *weight, "--set", "train.retention_threshold=0.2", ranks=1), 2, "train.retention_threshold = 0.1, now it is 0.2")
        expect(self.job("train", "full", *weight, "--set", "train.retention_threshold=0", ranks=1), 2, "Use a value above 0")
        expect(self.job("train", "full", "--set", "train.retention=most", ranks=1), 2, "train.retention", "off, drop, weight")
        expect(self.job("evaluate", "nothing-trained", "--arm", "centred", ranks=1), 0, "domains centred", "SynCDR protocol", "split test")
        expect(self.job("train", "nothing-trained", "--arm", "untrained", ranks=1), 2, "nothing to train in the arm untrained")

    def test_resume_refuses_what_it_was_told_not_to_do(self):
        translate = ["--set", "translate.translator=filter"]
        expect(self.job("translate", "chosen", *translate, "--resume", "require", ranks=1), 2, "there is nothing to go on from", "run.out")
        expect(self.job("translate", "chosen", *translate, "--resume", "never", ranks=1), 0)
        expect(self.job("translate", "chosen", *translate, "--resume", "never", ranks=1), 2, "run.json is there")
        expect(self.job("translate", "chosen", *translate, "--resume", "require", ranks=1), 0)
        expect(self.job("translate", "elsewhere/chosen/", *translate, "--set", "translate.filter.sigma=2", ranks=1), 2, "chosen-filter/run.json: was made with sigma = 1",
               "run.out with another last name", "another run of that name may have made this one")
        expect(self.job("run", "chosen", "--resume", "require", ranks=1), 2, "config.toml does not exist")
        expect(self.job("train", "chosen", "--resume", "now", ranks=1), 2, "--resume")
        expect(self.job("evaluate", "chosen", "--resume", "auto", ranks=1), 2, "--resume")  # it has nothing to go on from

    def test_jobs_that_do_not_know_each_other_share_a_translation(self):
        commands = [[MPIRUN, "-np", "1", str(BIN / "syncdr"), "translate", str(self.config), "--set", f"data.root={self.folder / 'emoji'}", "--set", f"run.out={self.folder / 'shared'}",
                     "--set", "translate.translator=filter", "--set", "translate.unit_rows=6", "--set", "translate.taper=0", "--json", str(self.folder / f"job{job}.json")]
                    for job in range(2)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command in commands]
        for process in processes:
            said, _ = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, said)
        made = [json.loads((self.folder / f"job{job}.json").read_text()) for job in range(2)]
        for direction in ("colour-to-ink", "ink-to-colour"):
            self.assertEqual(sum(figures[direction]["images"] for figures in made), 570, "every image is made once")
            left = {file.name for file in (self.folder / "emoji" / "synthetic" / direction / "shared-filter").iterdir()}
            self.assertEqual(left, {"run.json", "translation.json"} | {f"unit-{unit:05}.h5" for unit in range(95)})
        expect(run("syncdr-data", "verify", self.folder / "emoji"), 0)

    def test_translations_are_the_same_bytes_on_any_number_of_ranks_and_after_a_kill(self):
        weights = self.folder / "weights"
        expect(run("syncdr", "fit", "cut", self.config, "--set", f"data.root={self.folder / 'emoji'}", "--set", f"run.out={weights}", ranks=1), 0)
        generator = weights / "fit" / "cut" / "colour-to-ink" / "generator.safetensors"
        common = ["--set", f"translate.cut.weights={generator}"]
        reference = None
        for ranks in (1, 2, 3):
            expect(self.job("translate", f"ranks{ranks}", *common, ranks=ranks), 0)
            made = bytes_of(self.folder / "emoji" / "synthetic" / "colour-to-ink" / f"ranks{ranks}-cut")
            self.assertGreater(len(made), 10)
            reference = reference or made
            self.assertEqual(made, reference)

        folder = self.folder / "emoji" / "synthetic" / "colour-to-ink" / "killed-cut"
        command = [MPIRUN, "-np", "2", str(BIN / "syncdr"), "translate", str(self.config), "--set", f"data.root={self.folder / 'emoji'}",
                   "--set", f"run.out={self.folder / 'killed'}", *map(str, common)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list(folder.glob("unit-*.h5"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        victims = ranks_of(process)
        self.assertTrue(victims, "the job was over before it could be killed")
        subprocess.run(["kill", "-9", random.choice(victims)], check=False)
        self.assertEqual(process.wait(60), 75)
        sealed = len(list(folder.glob("unit-*.h5")))
        self.assertFalse((folder / "translation.json").exists(), "an interrupted translation must not look finished")
        self.assertLess(sealed, len(reference))
        expect(self.job("translate", "killed", *common, ranks=2), 0)
        self.assertEqual(bytes_of(folder), reference)


class MoreThanTwoDomains(unittest.TestCase):
    def test_all_ordered_pairs_are_fitted_translated_trained_and_evaluated_from_two_sets(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-three-"))
        self.addCleanup(shutil.rmtree, folder)
        domains = ("photo", "sketch", "print")
        write_pictures(folder / "pictures", categories=4, domains=domains)
        expect(run("syncdr-data", "pack", folder / "pictures", "-o", folder / "data"), 0)
        config = folder / "three.toml"
        config.write_text(SMALL.replace('arms = ["cds", "filter", "cut", "true"]', 'arms = ["cds", "filter", "cut+filter"]\nmain = "cut+filter"')
                          .replace("[train]", '[train]\nshares = ["filter=2"]'))
        job = ["syncdr", "run", config, "--set", f"data.root={folder / 'data'}", "--set", f"run.out={folder / 'out'}"]
        expect(run(*job, ranks=2), 0, "SynCDR, CUT translations and filter (control)", "print→sketch")
        # packed without a choice, the domains are in alphabetical order
        pairs = [f"{one}-to-{other}" for one in sorted(domains) for other in sorted(domains) if one != other]
        metrics = json.loads((folder / "out" / "metrics.json").read_text())
        self.assertEqual(metrics["domains"], sorted(domains))
        for row in (metrics["cds"], metrics["syncdr"], metrics["controls"]["filter"]):
            figures = row["prec@5"]
            self.assertEqual(list(figures), pairs + ["mean"] + [f"{pair}_interval" for pair in pairs] + ["mean_interval", "protocol"])
            self.assertAlmostEqual(figures["mean"], sum(figures[pair] for pair in pairs) / 6)
            self.assertEqual(list(row["queries"]), pairs)
        made = {path.relative_to(folder / "data" / "synthetic").as_posix() for path in (folder / "data" / "synthetic").glob("*/*")}
        self.assertEqual(made, {f"{pair}/out-{name}" for pair in pairs for name in ("filter", "cut")})
        self.assertEqual({path.name for path in (folder / "out" / "fit" / "cut").iterdir()}, set(pairs))
        page = (folder / "out" / "report.html").read_text()
        for pair in pairs:
            self.assertEqual(page.count(f"<figcaption>{pair.replace('-to-', ' → ')}</figcaption>"), 2, "a sheet of each set")
        expect(run(*job, "--set", 'train.shares=["filter=3"]', ranks=1), 2, "train.shares")
        for ranks in (1, 3):
            expect(run("syncdr", "translate", config, "--set", f"data.root={folder / 'data'}", "--set", f"run.out={folder / f'ranks{ranks}'}",
                       "--set", "translate.translator=filter", ranks=ranks), 0)
            for pair in pairs:
                made = [bytes_of(folder / "data" / "synthetic" / pair / f"{name}-filter") for name in ("out", f"ranks{ranks}")]
                self.assertEqual(made[0], made[1], pair)
                self.assertTrue(made[0])


if __name__ == "__main__":
    unittest.main()
