"""Variants of weights (unet/diffusion_pytorch_model.fp16.safetensors and the like) that all, some or none of a checkpoint's components have: the same
weights as both generations of diffusers load, from folders that either wrote."""
import os
import pathlib
import subprocess
import tempfile
import unittest

import torch
from safetensors.torch import load_file

from generations import next_generation, this_generation

PROBE = os.path.join(os.environ["SYNCDR_BIN"], "parity_probe")
STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
# what has the variant: component -> (in shards, its plain weights are there too)
CASES = {"one": {"unet": (False, False)}, "shards": {"unet": (True, False)}, "both": {"vae": (False, True), "text_encoder": (True, True)}, "none": {}}


class Variants(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="syncdr-variants-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def ours(self, folder, component):
        out = self.folder / "ours.safetensors"
        config = f'component = "{component}"\nstem = "{STEMS[component]}"\nvariant = "fp16"'
        return out, subprocess.run([PROBE, "component-weights", "--model", str(folder), "--out", str(out), "--config", config], capture_output=True, text=True)

    def check_equal(self, file, theirs, component, is_variant):
        ours = {name.removeprefix("text_model."): values for name, values in load_file(file).items()}
        theirs = {name.split("|")[1].removeprefix("text_model."): values for name, values in theirs.items() if name.startswith(component + "|")}
        self.assertEqual(set(ours), set(theirs))
        for name, values in ours.items():
            self.assertEqual(values.dtype, torch.float16 if is_variant else torch.float32, name)
            self.assertTrue(torch.equal(values.float(), theirs[name].float()), name)

    def check_files(self, files, variants):
        for component, (shards, plain) in variants.items():
            stem, names = STEMS[component], files[component]
            self.assertEqual(f"{stem}.safetensors" in names, plain)
            self.assertIn(f"{stem}.safetensors.index.fp16.json" if shards else f"{stem}.fp16.safetensors", names)
            self.assertEqual(any(name.startswith(f"{stem}.fp16-00002-of-000") for name in names), shards, names)

    def test_the_weights_are_those_that_both_generations_load(self):
        generations = {"this": this_generation, "next": next_generation}
        folders = []
        for writer, write in generations.items():
            folders += [self.folder / f"{writer} {case}" for case in CASES]
            for files, variants in zip(write("originals_files", "save_checkpoints", folders=folders[-len(CASES):], cases=list(CASES.values())), CASES.values()):
                self.check_files(files, variants)
        results = {reader: [folder.with_name(f"{folder.name} {reader}") for folder in folders] for reader in generations}
        for reader, read in generations.items():
            read("originals_files", "load_pipelines", folders=folders, variant="fp16", results=results[reader])
        for i, (folder, variants) in enumerate(zip(folders, list(CASES.values()) * 2)):
            for component in STEMS:
                out, done = self.ours(folder, component)
                self.assertEqual(done.returncode, 0 if variants else 65, done.stderr)
                self.assertEqual('no component has safetensors of the variant "fp16". There are no variants here' in done.stderr, not variants, done.stderr)
                self.assertEqual(done.stderr.count("has no weights of the variant"), int(bool(variants) and component not in variants), done.stderr)
                for reader in generations:
                    if component == "text_encoder" and folder.name.startswith("next") and reader == "this":
                        continue  # transformers 4 finds no name of transformers 5, says so in its log, and keeps random weights
                    with self.subTest(folder=folder.name, component=component, reader=reader):
                        self.assertEqual(results[reader][i].exists(), bool(variants), "diffusers refuses a variant that no component has")
                        if variants:
                            self.check_equal(out, load_file(results[reader][i]), component, component in variants)


if __name__ == "__main__":
    unittest.main()
