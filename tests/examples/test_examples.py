"""The examples as a user runs them, with the installed programs. SYNCDR_BIN: the installed syncdr and syncdr-data; SYNCDR_EXAMPLES: the built examples."""
import os
import pathlib
import re
import shutil
import sys
import tempfile
import unittest
import zlib

import h5py

HERE = pathlib.Path(__file__).parent
HOME = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "cli"))
from support import SMALL, bytes_of, expect, run, write_pictures

MODEL = HOME / "configs" / "models" / "emoji"
TEXTS = {"photo": "a colour emoji", "sketch": "an ink drawing"}


class Examples(unittest.TestCase):
    programs = pathlib.Path(os.environ["SYNCDR_EXAMPLES"])

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-examples-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.data, pictures = cls.folder / "data", cls.folder / "pictures"
        write_pictures(pictures, categories=8, size=64)
        expect(run("syncdr-data", "pack", pictures, "-o", cls.data), 0)
        cls.shard, = (cls.data / "real" / "photo").glob("train-*.h5")
        os.chdir(pictures)  # a picture's path is then its key

    def example(self, name, *arguments, ranks=None):
        process = run(self.programs / name, *arguments, ranks=ranks)
        expect(process, 0)
        return process.stdout

    def pictures_of(self, shard, folder):
        """key -> what read_shard says of it and the file that it leaves."""
        rows = re.findall(r"^(\d+)\t(\S+)\t64 x 64\tmean (\S+)$", self.example("read_shard", shard, folder), re.M)
        self.assertTrue(rows)
        return {key: (float(mean), pathlib.Path(folder, f"{row}.png").read_bytes()) for row, key, mean in rows}

    def test_read_shard(self):
        pictures = self.pictures_of(self.shard, "read")
        for key, (mean, file) in pictures.items():
            self.assertEqual(file, pathlib.Path(key).read_bytes(), key)
            rows = zlib.decompress(file[41:-16])  # the only chunk of support.png: a zero, then the pixels of a row
            self.assertAlmostEqual(mean, sum(rows) / (64 * 64 * 3), delta=0.006, msg=key)
        with h5py.File(self.shard) as opened:
            self.assertEqual([key.decode() for key in opened["key"]], list(pictures))
        lines, = re.findall(r"^```python\n(.*?)^```", (HERE / "README.md").read_text(), re.M | re.S)
        shutil.copy(self.shard, "train-00000-of-00001.h5")
        found = {"h5py": h5py}
        exec(lines, found)
        self.assertEqual(found["first"], next(iter(pictures.values()))[1])

    def test_read_shard_refuses_half_a_shard(self):
        pathlib.Path("half.h5").write_bytes(self.shard.read_bytes()[:9000])
        expect(run(self.programs / "read_shard", "half.h5"), 65, "half.h5")

    def test_translate_picture(self):
        pathlib.Path("prompts.toml").write_text("".join(f'[{domain}]\ndescription = "{text}"\n' for domain, text in TEXTS.items()))
        pathlib.Path("emoji.toml").write_text(
            f'[data]\nroot = "{self.data}"\n[translate]\ntranslator = "structure"\nrun = "set"\nprompts = "prompts.toml"\nsize = 64\n'
            f'diffusion = {{ checkpoint = "{MODEL}", steps = 3 }}\nstructure = {{ guidance = 1 }}\n')
        expect(run("syncdr", "translate", "emoji.toml", ranks=2), 0)
        unit = min((self.data / "synthetic" / "photo-to-sketch" / "set").glob("unit-*.h5"))
        for key, (_, file) in list(self.pictures_of(unit, "translated").items())[:2]:
            self.example("translate_picture", MODEL, key, TEXTS["sketch"], "out.png")
            self.assertEqual(pathlib.Path("out.png").read_bytes(), file, key)

    def test_own_translator(self):
        other = self.folder / "other"
        shutil.copytree(self.data, other, ignore=shutil.ignore_patterns("synthetic"))
        said = [self.example("own_translator", root, "size=64", "unit_rows=8", ranks=ranks) for root, ranks in ((self.data, 2), (other, 1))]
        self.assertEqual(*said)
        units = [bytes_of(root / "synthetic" / "photo-to-sketch" / "poster") for root in (self.data, other)]
        self.assertGreater(len(units[0]), 1)
        self.assertEqual(*units)
        self.assertIn(" 0 made", self.example("own_translator", self.data, "size=64", "unit_rows=8"))
        expect(run("syncdr-data", "verify", self.data), 0)
        pathlib.Path("small.toml").write_text(SMALL)
        expect(run("syncdr", "train", "small.toml", "--arm", "poster", "--set", f"data.root={self.data}", "--set", "train.epochs=1"), 0)

    def test_own_training(self):
        said = {ranks: self.example("own_training", self.data, f"{ranks}.safetensors", ranks=ranks) for ranks in (1, 2)}
        losses = {ranks: [float(loss) for loss in re.findall(r"loss (\S+)", text)] for ranks, text in said.items()}
        self.assertEqual(len(losses[1]), 4)
        for one, two in zip(losses[1], losses[2]):
            self.assertAlmostEqual(one, two, delta=0.0021)
        self.assertLess(losses[2][-1], losses[2][0] / 2)
        self.assertTrue(pathlib.Path("2.safetensors").exists())
        expect(run(self.programs / "own_training", "nowhere", "none.safetensors", ranks=2), 65, "nowhere")


if __name__ == "__main__":
    unittest.main()
