"""Checkpoint folders that we write, loaded by diffusers and transformers of this Python's generation: networks to 1e-5 (norm of the difference / norm
of the outputs), the same ids, and the whole pipelines run."""
import pathlib
import sys
import tempfile
import unittest

import torch
import transformers

sys.modules["ftfy"] = None  # the original cleans text in another way where ftfy is installed
from diffusers import StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline  # noqa: E402
from diffusers.utils import logging  # noqa: E402
from transformers import CLIPTokenizer  # noqa: E402

from probe import distance, probe  # noqa: E402

TEXTS = ["", "a photo", "A painting of an object.", "it's 42!?", "naïve café", "a\tb\u00a0c", "<|endoftext|>x", "x" * 100, "'S 'LL", "\"quoted\" \\ back"]
# Transformers 5 makes other ids of these. What we write has the files of transformers 4, and so its rules.
if transformers.__version__ < "5":
    TEXTS += ["漢字 ひらがな", "👩\u200d👩\u200d👧 ❤️", "\u0000\u0345ẞİ", "<|startoftext|> <|STARTOFTEXT|>"]


class Writer(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="syncdr-parity-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.checkpoint = self.folder / "checkpoint"

    def write(self, pipeline, condition_channels):
        torch.manual_seed(5)
        given = {"sample": torch.randn(2, 8 + condition_channels, 8, 8), "times": torch.tensor([999, 3]), "ids": torch.randint(0, 514, (2, 32)),
                 "latents": torch.randn(2, 8, 8, 8)}
        ours = probe("write-checkpoint", given, self.checkpoint, pipeline=pipeline.__name__, texts=TEXTS, condition_channels=condition_channels)
        return given, ours, pipeline.from_pretrained(self.checkpoint)

    def close(self, what, ours, theirs):
        self.assertEqual(ours.shape, theirs.shape)
        error = distance(ours, theirs)
        print(f"{'ok  ' if error <= 1e-5 else 'FAIL'} {what}: {error:.1e} (at most 1e-5)")
        self.assertLessEqual(error, 1e-5)

    def compare(self, pipeline, condition_channels):
        given, ours, pipe = self.write(pipeline, condition_channels)
        pipe.set_progress_bar_config(disable=True)
        with torch.no_grad():
            hidden = pipe.text_encoder(given["ids"]).last_hidden_state
            self.close("text encoder", ours["hidden"], hidden)
            self.close("UNet", ours["output"], pipe.unet(given["sample"], given["times"], hidden).sample)
            self.close("autoencoder", ours["images"], pipe.vae.decode(given["latents"]).sample)
        self.assertEqual(pipe.vae.config.scaling_factor, 0.7)
        self.assertTrue(torch.equal(ours["alphas"], pipe.scheduler.alphas_cumprod))
        self.assertEqual(pipe.scheduler.config.timestep_spacing, "trailing")
        return pipe, ours

    def test_stable_diffusion(self):
        pipe, _ = self.compare(StableDiffusionPipeline, 0)
        images = pipe("a photo", num_inference_steps=2, output_type="np").images
        self.assertEqual(images.shape, (1, 32, 32, 3))

    def test_instruct_pix2pix(self):
        pipe, _ = self.compare(StableDiffusionInstructPix2PixPipeline, 8)
        images = pipe("a photo", image=torch.rand(1, 3, 32, 32), num_inference_steps=2, output_type="np").images
        self.assertEqual(images.shape, (1, 32, 32, 3))

    def test_the_byte_tokenizer(self):
        _, ours, pipe = self.write(StableDiffusionPipeline, 0)
        self.assertIsInstance(pipe.tokenizer, CLIPTokenizer)
        self.assertEqual(len(pipe.tokenizer), 514)
        frame = {"padding": "max_length", "max_length": pipe.tokenizer.model_max_length, "truncation": True, "return_tensors": "pt"}
        self.assertTrue(torch.equal(ours["encoded"], pipe.tokenizer(TEXTS, **frame)["input_ids"]))
        print(f"ok   byte tokenizer: the ids of {len(TEXTS)} texts")


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    unittest.main()
