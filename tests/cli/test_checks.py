"""What would stop a run hours later is said before anything is fitted, translated or written, by `run` and by the command of the phase alone."""
import json
import os
import pathlib
import shutil
import tempfile
import unittest

from support import DIFFUSION, PROMPTS, SMALL, expect, run, write_pictures


class Checks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-checks-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        write_pictures(cls.folder / "pictures")
        cls.pack("data")
        cls.config = cls.folder / "small.toml"
        cls.config.write_text(SMALL)

    @classmethod
    def pack(cls, name, *options):
        expect(run("syncdr-data", "pack", cls.folder / "pictures", "-o", cls.folder / name, *options), 0)

    def refused(self, code, *texts, data="data", settings=(), ranks=None, command=("run",), config=None):
        out = self.folder / "run"
        process = run("syncdr", *command, config or self.config, "--set", f"data.root={self.folder / data}", "--set", f"run.out={out}",
                      *(part for setting in settings for part in ("--set", setting)), ranks=ranks, timeout=60)
        expect(process, code, *texts)
        self.assertFalse(out.exists(), "something was begun")
        self.assertEqual(list((self.folder / data).glob("synthetic/*/*")), [], "something was begun")

    def refused_by_run_and_alone(self, command, code, *texts, **how):
        self.refused(code, *texts, **how)
        self.refused(code, *texts, command=command, **how)

    def test_what_is_to_be_measured(self):
        for setting, text in (("protocol=held-out", "one of syncdr, ucdir"), ("gallery=some", "one of all, shared"), ("cutoffs=[0]", "1 to 10000"), ("recall=[1, 20000]", "1 to 10000"),
                              ("cutoffs=[5, 5]", "a k is there twice"), ("cutoffs=[]", "is empty")):
            self.refused(2, f"evaluate.{setting.partition('=')[0]}", text, settings=["evaluate." + setting, 'run.arms=["untrained"]'])
        self.refused(2, "--split val", "measures on the training images", settings=["evaluate.protocol=ucdir"], command=("evaluate", "--split", "val"))
        self.refused(2, "a k is there twice", settings=["evaluate.further_cutoffs=[50, 50]"], command=("evaluate",))

    def test_ucdirs_protocol_measures_on_training_images(self):
        # Domains train on different categories by default.
        ucdir = ["evaluate.protocol=ucdir", 'run.arms=["untrained"]', "train.encoder.head=random"]
        self.refused(65, 'share no category in split "train"', settings=ucdir)
        self.pack("same-categories", "--no-disjoint")
        measured = self.folder / "ucdir.json"
        settings = (part for setting in (*ucdir, "evaluate.recall=[7]", f"data.root={self.folder / 'same-categories'}") for part in ("--set", setting))
        expect(run("syncdr", "evaluate", self.config, *settings, "--json", measured), 0, "UCDIR protocol (on the training images themselves", "split train",
               "closed category sets", "Recall@7")
        untrained = json.loads(measured.read_text())["controls"]["untrained"]
        self.assertEqual(untrained["recall@7"]["protocol"], "ucdir")
        self.assertEqual(list(untrained["categories"]), ["seen", "seen_in_both"])

    def test_a_dataset_without_validation_images(self):
        self.pack("no-val", "--val", "0")
        self.refused(2, "train.patience = 3", "split \"val\"", data="no-val", settings=["train.patience=3"])
        out = self.folder / "without"
        done = run("syncdr", "run", self.config, "--set", f"data.root={self.folder / 'no-val'}", "--set", f"run.out={out}", "--set", 'run.arms=["cds", "untrained"]',
                   "--set", "run.main=cds", "--set", "train.encoder.head=random")
        expect(done, 0, 'no images in its split "val": the last epoch')
        self.assertIn("nothing was validated", (out / "report.html").read_text())
        metrics = json.loads((out / "metrics.json").read_text())
        self.assertEqual([arm["validation"] for arm in (metrics["cds"], metrics["controls"]["untrained"])], [None, None])
        self.assertEqual(metrics["cds"]["selected_by"], "last")
        self.assertEqual(json.loads((out / "train" / "cds" / "done.json").read_text())["best_epoch"], 2)

    def test_a_dataset_without_test_images(self):
        self.pack("no-test", "--test", "0")
        self.refused(65, "test", data="no-test")

    def test_a_batch_above_a_domains_images(self):
        self.refused(2, "train.batch = 5000: the arm cds has", "Use a smaller train.batch", settings=["train.batch=5000"])

    def test_fewer_images_of_a_step_than_ranks(self):
        self.refused(2, "train.batch = 2 for 3 ranks", settings=["train.batch=2", 'run.arms=["cds"]', "run.main=cds"], ranks=3)

    def test_weights_of_another_network(self):
        weights = self.folder / "weights.safetensors"
        header = b'{"conv1.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        weights.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
        self.refused(65, "weights.safetensors", "\"bn1.bias\"", settings=[f"train.encoder.weights={weights}"])

    def test_a_translated_set_that_is_not_there(self):
        self.refused(65, "elsewhere", settings=['run.arms=["cds", "filter", "elsewhere"]', "run.main=filter"])

    def test_arms_that_are_not_there_and_the_one_that_is_meant(self):
        self.refused(65, '"filtr" is neither', 'Did you mean "filter"', settings=['run.arms=["cds", "cut+filtr"]', "run.main=cds"])
        for main, meant in ("filtr", ' Did you mean "filter"?'), ("structure", ""):
            self.refused(2, f'run.main = "{main}" is not one of run.arms (cds, filter).{meant}', settings=['run.arms=["cds", "filter"]', f"run.main={main}"])
        for arms, main in ('["cds", "filter", "cut"]', "cut"), ('["cds", "filter", "true"]', "filter"), ('["cds"]', ""):
            for old in [], ["--set", "run.main=cut"]:  # which older runs' configurations hold, whatever their arms
                expect(run("syncdr", "run", self.config, "--set", "data.root=data", "--set", f"run.arms={arms}", *old, "--print-config"), 0, f"main = '{main}'")
        self.refused(2, "none of run.arms (cds) trains on translations", settings=['run.arms=["cds"]'], command=("train",))

    def test_a_mixture_of_sets_of_which_one_is_not_there(self):
        self.refused(65, "elsewhere", settings=['run.arms=["cds", "filter+elsewhere"]', "run.main=cds"])

    def test_a_head_without_weights(self):
        self.refused(2, "Name a file of weights", settings=["train.encoder.train=head"])

    def test_settings_of_a_training_that_contradict_each_other(self):
        for setting, text in (("train.augment.crop=33", "train.augment.crop = 33 is larger than train.augment.resize = 32"),
                              ('train.matching_directions=["photo->art"]', 'no direction "photo->art"'), ("train.ema=1", "train.ema = 1"),
                              ("train.encoder.train=layer9", '"layer9" is no layer of small'),
                              ("train.encoder.head=identity", "Set train.encoder.dim = 256"), ("train.retention_threshold=0", "Use a value above 0")):
            self.refused_by_run_and_alone(("train", "--arm", "cds"), 2, text, settings=[setting, "train.retention=weight"])
        self.refused_by_run_and_alone(("train", "--arm", "cds"), 2, "optimizer.betas", settings=["train.optimizer.name=adam", "train.optimizer.betas=[0.9]"])

    def test_settings_of_cut_that_fit_nothing_or_not_each_other(self):
        for settings, text in ((["fit.cut.batch=500"], "lower fit.cut.batch"), (["fit.cut.gan_weight=0", "fit.cut.nce_weight=0"], "all weights of the loss are 0"),
                               (["fit.cut.ema=1"], "fit.cut.ema = 1"), (["fit.cut.betas=[0.5]"], "betas"), (["fit.cut.augment.crop=30"], "multiple of 4"),
                               (["fit.cut.augment.crop=40"], "fit.cut.augment.crop = 40 is larger"), (["fit.cut.generator.nce_layers=[0,99]"], "99 is no layer"),
                               (["fit.cut.discriminator.layers=6"], "lower discriminator.layers")):
            self.refused_by_run_and_alone(("fit", "cut"), 2, text, settings=settings)
        self.refused_by_run_and_alone(("fit", "cut"), 2, "less than the 3 ranks", settings=["fit.cut.batch=2"], ranks=3)

    def test_a_domain_without_training_images(self):
        lists = []
        for domain, splits in ("photo", ("train", "val", "test")), ("sketch", ("val", "test")):
            for split in splits:
                file = self.folder / f"{domain}-{split}.txt"
                file.write_text("".join(f"{domain}/category-{category:02}/{'train val test'.split().index(split)}.png {category}\n" for category in range(12)))
                lists += ["--list", f"{domain}:{split}={file}"]
        expect(run("syncdr-data", "pack", *lists, "--root", self.folder / "pictures", "-o", self.folder / "no-train"), 0)
        for command in ("run",), ("fit", "cut"), ("translate",), ("train", "--arm", "cds"):
            self.refused(65, "sketch", "train", data="no-train", command=command)
        self.refused(65, "sketch", "train", data="no-train", command=("fit", "diffusion"), config=self.diffusion())

    def diffusion(self):
        """A configuration in which cut is fitted first."""
        (self.folder / "prompts.toml").write_text(PROMPTS)
        config = self.folder / "diffusion.toml"
        config.write_text(SMALL.replace('["cds", "filter", "cut", "true"]', '["cds", "cut", "structure"]\nmain = "structure"')
                          .replace("unit_rows = 16", f'unit_rows = 16\nprompts = "{self.folder / "prompts.toml"}"') + DIFFUSION)
        return config

    def test_settings_of_diffusion_that_fit_nothing_or_not_each_other(self):
        stage = "fit.diffusion.autoencoder"
        for settings, text in ((["fit.diffusion.batch=500"], "lower fit.diffusion.batch"), ([f"{stage}.batch=500"], f"lower {stage}.batch"),
                               (["fit.diffusion.augment.crop=31"], "fit.diffusion.augment.crop = 31: the autoencoder needs a multiple of 2"),
                               (["fit.diffusion.augment.crop=40"], "larger than fit.diffusion.augment.resize"), (["fit.diffusion.ema=1"], "fit.diffusion.ema = 1"),
                               ([f"{stage}.ema=1"], f"{stage}.ema = 1"), (["fit.diffusion.optimizer.betas=[0.5]"], "fit.diffusion: optimizer.betas"),
                               ([f"{stage}.loss.{kind}_weight=0" for kind in ("pixel", "chroma", "gradient")], f"{stage}.loss: all weights of the loss are 0"),
                               (["fit.diffusion.extra_split=more"], 'a split "more"'), (['fit.diffusion.prompts=["a photo"]'], "needs 2 texts"),
                               (['fit.diffusion.prompts=["a nice picture of a photo", "a nice picture of a sketch"]'], "are the same 16 tokens")):
            self.refused_by_run_and_alone(("fit", "diffusion"), 2, text, settings=settings, config=self.diffusion())
        self.refused_by_run_and_alone(("fit", "diffusion"), 65, "nowhere", settings=["fit.diffusion.from=nowhere"], config=self.diffusion())

    def test_a_translation_that_cannot_work(self):
        for settings, text in ((["translate.size=30"], "translate.size is 30"), (["translate.variants=2"], "draws nothing at random"),
                               (["translate.image_prompts=texts.tsv"], "takes no text")):
            self.refused_by_run_and_alone(("translate",), 2, text, settings=settings)
        self.refused_by_run_and_alone(("translate",), 65, "nowhere.safetensors", settings=["translate.cut.weights=nowhere.safetensors"])
        self.refused_by_run_and_alone(("translate",), 65, "nowhere", settings=["translate.translator=structure", "translate.diffusion.checkpoint=nowhere"],
                                      config=self.diffusion())
        for setting, text in (("translate.structure.sigma=[2, 1]", "translate.structure.sigma"), ("translate.diffusion.scheduler=Mine", "is not one of")):
            self.refused_by_run_and_alone(("translate",), 2, text, settings=["translate.translator=structure", setting], config=self.diffusion())

    def test_a_model_that_was_fitted_in_one_direction_alone(self):
        out = self.folder / "half"
        settings = ["--set", f"data.root={self.folder / 'data'}", "--set", f"run.out={out}"]
        expect(run("syncdr", "fit", "cut", self.config, *settings), 0)
        shutil.rmtree(out / "fit" / "cut" / "sketch-to-photo")
        expect(run("syncdr", "translate", self.config, *settings), 65, "sketch-to-photo", "Train it with `syncdr fit cut`")
        self.assertEqual(list((self.folder / "data").glob("synthetic/*/*")), [], "the other direction was begun")

    def test_a_folder_that_cannot_be_written(self):
        (self.folder / "file").write_text("no folder")
        locked = self.folder / "locked"
        locked.mkdir()
        locked.chmod(0o500)
        places = [self.folder / "file"] + ([locked] if os.geteuid() else [])  # root may write into the other
        for place in places:
            for command in ("run",), ("fit", "cut"), ("train", "--arm", "cds"):
                process = run("syncdr", *command, self.config, "--set", f"data.root={self.folder / 'data'}", "--set", f"run.out={place / 'run'}")
                expect(process, 74, str(place), "nothing can be written there", "run.out")
        copy = self.folder / "no-synthetic"
        shutil.copytree(self.folder / "data", copy, ignore=shutil.ignore_patterns("synthetic"))
        (copy / "synthetic").write_text("no folder")
        for command in ("run",), ("translate",):
            process = run("syncdr", *command, self.config, "--set", f"data.root={copy}", "--set", f"run.out={self.folder / 'run'}")
            expect(process, 74, "synthetic", "nothing can be written there", "data.root")
        self.assertFalse((self.folder / "run").exists(), "something was begun")

    def test_more_rows_of_matching_than_a_bank_has_are_said_and_taken(self):
        process = run("syncdr", "train", self.config, "--arm", "cds", "--set", f"data.root={self.folder / 'data'}", "--set", f"run.out={self.folder / 'all'}",
                      "--set", "train.matching_top=100000")
        expect(process, 0, "train.matching_top = 100000: the memory bank of", "all are looked at")


if __name__ == "__main__":
    unittest.main()
