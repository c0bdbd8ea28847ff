"""Wrong input ends with a message that says what, where and how to mend it, and with the exit code of its kind."""
import pathlib
import shutil
import tempfile
import unittest

from support import SMALL, expect, run, write_pictures


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-cli-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        write_pictures(cls.folder / "pictures")
        expect(run("syncdr-data", "pack", cls.folder / "pictures", "-o", cls.folder / "data", "--rows", "16"), 0)
        cls.config = cls.folder / "small.toml"
        cls.config.write_text(SMALL)

    def command(self, name, *arguments, config=None, ranks=None, data=None):
        return run("syncdr", name, config or self.config, "--set", f"data.root={data or self.folder / 'data'}",
                   "--set", f"run.out={self.folder / 'run'}", *arguments, ranks=ranks)

    def test_no_command_or_an_unknown_one_is_a_usage_error(self):
        expect(run("syncdr"), 2, "subcommand")
        expect(run("syncdr", "paint"), 2)
        expect(run("syncdr-data"), 2)

    def test_a_missing_configuration_is_named(self):
        expect(run("syncdr", "train", "nowhere.toml"), 2, "nowhere.toml: there is no such configuration file")

    def test_a_wrong_key_names_the_nearest(self):
        expect(self.command("train", "--set", "train.epoch=3"), 2, "unknown key \"train.epoch\". Did you mean \"train.epochs\"?")
        expect(self.command("train", "--set", "train.epochs=0"), 2, "train.epochs = 0 is out of range: it must be at least 1")

    def test_two_ranks_say_a_usage_error_once(self):
        process = self.command("train", "--set", "train.epoch=3", ranks=2)
        expect(process, 2)
        self.assertEqual((process.stdout + process.stderr).count("unknown key"), 1)

    def test_a_missing_dataset_is_named(self):
        expect(self.command("train", data=self.folder / "nothing"), 65, "nothing", "dataset.json")
        for command in "verify", "inspect":
            expect(run("syncdr-data", command, self.folder / "nothing"), 65, "nothing/dataset.json: is missing. Make a dataset with \"syncdr-data pack\"")

    def test_arms_that_are_not_trained_are_named_before_they_are_measured(self):
        expect(self.command("evaluate"), 65, "run/train/cds/done.json is not there", "`syncdr train CONFIG --arm cds`")
        expect(self.command("evaluate", "--arm", "filtr"), 65, "run/train/filtr/done.json is not there", "Did you mean \"filter\"?")

    def test_missing_translations_name_the_set_and_how_to_make_it(self):
        expect(self.command("train", "--arm", "other"), 65, "other", "syncdr translate")

    def test_a_missing_generator_says_how_to_train_it(self):
        expect(self.command("translate", "--set", "translate.cut.weights=none.safetensors"), 65, "none.safetensors", "syncdr fit cut")

    def test_images_of_a_side_that_the_encoder_cannot_take_are_refused_before_anything_is_made(self):
        wrong = ["--set", "train.encoder.name=resnet50_clip", "--set", f"run.out={self.folder / 'wrong-side'}"]
        for name in ("train", "run"):
            expect(self.command(name, *wrong), 2, "train.augment.crop = ", "resnet50_clip takes images of 224 pixels", "train.encoder.size")
        self.assertFalse((self.folder / "wrong-side").exists())

    def test_a_truncated_shard_is_found_before_training(self):
        copy = self.folder / "truncated"
        shutil.copytree(self.folder / "data", copy)
        shard = sorted((copy / "real").rglob("train-*.h5"))[0]
        content = shard.read_bytes()
        shard.write_bytes(content[: len(content) // 2])
        expect(run("syncdr-data", "verify", copy), 65, shard.name)
        expect(self.command("train", "--arm", "cds", data=copy), 65, shard.name)

    def test_a_flipped_bit_is_found_by_verify(self):
        copy = self.folder / "flipped"
        shutil.copytree(self.folder / "data", copy)
        shard = sorted((copy / "real").rglob("val-*.h5"))[0]
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 4
        shard.write_bytes(content)
        expect(run("syncdr-data", "verify", copy), 65, shard.name)

    def test_a_truncated_image_is_counted_and_named(self):
        pictures = self.folder / "broken-pictures"
        write_pictures(pictures, categories=3, images=4)
        broken = pictures / "photo" / "category-00" / "0.png"
        broken.write_bytes(broken.read_bytes()[:60])
        expect(run("syncdr-data", "pack", pictures, "-o", self.folder / "broken-data"), 65, "category-00/0.png", "max-bad-share")
        expect(run("syncdr-data", "pack", pictures, "-o", self.folder / "broken-data", "--max-bad-share", "0.1"), 0)

    def test_weights_of_another_shape_are_refused_by_name(self):
        run_folder = self.folder / "other-dim"
        arguments = ["--arm", "cds", "--set", f"run.out={run_folder}", "--set", "train.epochs=1"]
        expect(self.command("train", *arguments), 0)
        encoder = run_folder / "train" / "cds" / "encoder.safetensors"
        expect(self.command("train", "--arm", "cds", "--set", f"train.encoder.weights={encoder}", "--set", "train.encoder.dim=24"), 65,
               "encoder.safetensors", "head.bias", "[16]", "[24]")

    def test_a_run_folder_of_another_configuration_is_refused(self):
        arguments = ["--set", f"run.out={self.folder / 'claimed'}", "--set", 'run.arms=["cds"]', "--set", "train.epochs=1"]
        expect(self.command("run", *arguments), 0)
        expect(self.command("run", *arguments, "--set", "seed=5"), 2, "was made with seed = 0, now it is 5")


if __name__ == "__main__":
    unittest.main()
