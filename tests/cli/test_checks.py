"""What would stop a run hours later is said before anything is fitted, translated or written."""
import pathlib
import shutil
import tempfile
import unittest

from support import SMALL, expect, run, write_pictures


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

    def refused(self, code, *texts, data="data", settings=(), ranks=None):
        out = self.folder / "run"
        process = run("syncdr", "run", self.config, "--set", f"data.root={self.folder / data}", "--set", f"run.out={out}",
                      *(part for setting in settings for part in ("--set", setting)), ranks=ranks)
        expect(process, code, *texts)
        self.assertFalse(out.exists(), "something was begun")

    def test_a_dataset_without_validation_images(self):
        self.pack("no-val", "--val", "0")
        self.refused(65, "val", data="no-val")

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

    def test_a_mixture_of_sets_of_which_one_is_not_there(self):
        self.refused(65, "elsewhere", settings=['run.arms=["cds", "filter+elsewhere"]', "run.main=cds"])

    def test_a_head_without_weights(self):
        self.refused(2, "Name a file of weights", settings=["train.encoder.train=head"])

    def test_more_rows_of_matching_than_a_bank_has_are_said_and_taken(self):
        process = run("syncdr", "train", self.config, "--arm", "cds", "--set", f"data.root={self.folder / 'data'}", "--set", f"run.out={self.folder / 'all'}",
                      "--set", "train.matching_top=100000")
        expect(process, 0, "train.matching_top = 100000: the memory bank of", "all are looked at")


if __name__ == "__main__":
    unittest.main()
