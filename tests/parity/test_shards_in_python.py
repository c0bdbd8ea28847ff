"""The Python in src/data/README.md reads what syncdr-data pack wrote: the same pixels, categories and keys, also in the workers of a DataLoader."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import numpy
import torch
from PIL import Image

BIN = pathlib.Path(os.environ["SYNCDR_BIN"])
README = pathlib.Path(__file__).parents[2] / "src" / "data" / "README.md"
CODE = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), re.S))


def tensor(image):
    return torch.from_numpy(numpy.array(image))


class ShardsInPython(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="syncdr-shards-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.pictures = {}
        for domain in "photo", "sketch":
            for number in range(7):
                key = f"{domain}/category-{number % 3}/{number}.png"
                place = self.folder / "in" / key
                place.parent.mkdir(parents=True, exist_ok=True)
                self.pictures[key] = numpy.random.default_rng(len(self.pictures)).integers(0, 256, (9, 9, 3), dtype=numpy.uint8)
                Image.fromarray(self.pictures[key]).save(place)
        command = [BIN / "syncdr-data", "pack", self.folder / "in", "-o", self.folder / "data", "--no-disjoint", "--val", "0", "--test", "0", "--rows", "3"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)
        self.names = {}
        exec(CODE, self.names)

    def test_every_row_is_what_was_packed(self):
        found = {key: (label, numpy.array(image)) for domain in ("photo", "sketch") for key, label, image in self.names["images"](self.folder / "data", domain, "train")}
        self.assertEqual(set(found), set(self.pictures))
        for key, (label, pixels) in found.items():
            self.assertEqual(f"category-{label}", key.split("/")[1])
            self.assertTrue((pixels == self.pictures[key]).all(), key)

    def test_a_data_loader_with_workers_gives_the_same(self):
        dataset = self.names["Shards"](self.folder / "data", "photo", "train", tensor)
        batches = [(image, int(label)) for images, labels in torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=2) for image, label in zip(images, labels)]
        rows = list(self.names["images"](self.folder / "data", "photo", "train"))
        self.assertEqual(len(batches), 7)
        for (image, label), (key, expected, _) in zip(batches, rows):
            self.assertEqual(label, expected)
            self.assertTrue((image.numpy() == self.pictures[key]).all(), key)


if __name__ == "__main__":
    unittest.main()
