"""Search by text against open_clip and both generations of transformers: features of texts to 1e-5; and from the weights file to the scores of a gallery."""
import json
import os
import subprocess
import unittest

import numpy
import open_clip
import originals_vit
import torch
from generations import next_generation, this_generation
from PIL import Image
from probe import BIN, FOLDER, distance, probe, save
from safetensors.torch import load_file
from test_diffusion_text import write_vocabulary

TEXTS = ["a photo of a dog", "Horse", "it's a drawing of 3 bicycles, cropped!", "naïve café " * 12]


def ids_of(texts, vocabulary, length):
    """What transformers' tokenizer makes of them, in open_clip's frame: zeros behind the end."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(vocabulary, model_max_length=length)
    rows = tokenizer(texts, padding="max_length", truncation=True)["input_ids"]
    return torch.tensor([[0 if tokenizer.eos_token_id in row[:place] else token for place, token in enumerate(row)] for row in rows]), len(tokenizer)


class Texts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vocabulary = FOLDER / "vocabulary"
        cls.vocabulary.mkdir()
        write_vocabulary(cls.vocabulary)
        (cls.vocabulary / "tokenizer_config.json").write_text('{"model_max_length": 20}')

    def ours(self, file, encoder, tokenizer):
        return probe("text-tower", {"unused": torch.zeros(1)}, model=file, encoder=encoder, tokenizer=str(tokenizer), texts=TEXTS)["features"]

    def same(self, what, ours, theirs):
        self.assertLess(distance(ours, theirs), 1e-5, what)

    @torch.no_grad()
    def test_open_clip(self):
        ids, words = ids_of(TEXTS, self.vocabulary, 20)
        for quick, encoder in (True, "vit_base_patch32_clip_quickgelu_224"), (False, "vit_base_patch32_clip_224"):
            for kind in open_clip.model.CLIP, open_clip.model.CustomTextCLIP:
                torch.manual_seed(5)
                model = kind(24, {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32}, {"context_length": 20, "vocab_size": words, "width": 128, "heads": 2, "layers": 2},
                             quick_gelu=quick).eval()
                originals_vit.randomise(model)
                file = save(model.state_dict(), FOLDER / "open_clip.safetensors")
                self.same(f"{kind.__name__}, quick: {quick}", self.ours(file, encoder, self.vocabulary), model.encode_text(ids, normalize=True))

    def test_transformers(self):
        for name, generation in ("this", this_generation), ("next", next_generation):
            for activation, heads in ("quick_gelu", 1), ("gelu", 4):
                with self.subTest(name, activation=activation):
                    folder, file = FOLDER / f"{name}-{heads}", FOLDER / "theirs.safetensors"
                    generation("originals_search", "clip", vocabulary=self.vocabulary, texts=TEXTS, folder=folder, file=file, activation=activation, heads=heads)
                    ours = self.ours(folder / "model.safetensors", "vit_base_patch32_clip_224", folder)
                    self.same(f"{name} generation, {activation}", ours, load_file(file)["features"])

    @torch.no_grad()
    def test_from_a_weights_file_to_scores(self):
        ids, words = ids_of(TEXTS, self.vocabulary, 20)
        torch.manual_seed(6)
        model = open_clip.model.CLIP(512, {"image_size": 32, "layers": 12, "width": 768, "patch_size": 32}, {"context_length": 20, "vocab_size": words, "width": 64, "heads": 1,
                                                                                                           "layers": 1}, quick_gelu=True).eval()
        file = save({name: tensor.half() for name, tensor in model.state_dict().items()}, self.vocabulary / "clip.safetensors")
        model.load_state_dict({name: tensor.float() for name, tensor in load_file(file).items()}, strict=False)
        generator = numpy.random.default_rng(1)
        pictures = {}
        for domain in "ink", "photo":
            for i in range(3):
                key = f"{domain}/thing/{i}.png"
                (FOLDER / "pictures" / key).parent.mkdir(parents=True, exist_ok=True)
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(FOLDER / "pictures" / key)
                pictures[key] = torch.from_numpy(pixels).permute(2, 0, 1) / 255
        config = FOLDER / "clip.toml"
        config.write_text(f"""
data.root = "{FOLDER / 'data'}"
run = {{ out = "{FOLDER / 'run'}", arms = ["untrained"], main = "untrained" }}
train.augment = {{ resize = 32, crop = 32 }}
train.encoder = {{ name = "vit_base_patch32_clip_quickgelu_224", size = 32, weights = "{file}" }}
""")
        for command in (["syncdr-data", "pack", FOLDER / "pictures", "-o", FOLDER / "data", "--no-disjoint"], ["syncdr", "embed", config],
                        ["syncdr", "search", config, "-k", "6", "--json", FOLDER / "found.json", *(part for text in TEXTS for part in ("--text", text))]):
            subprocess.run([BIN / command[0], *command[1:]], check=True, timeout=100, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "2"})
        mean, deviation = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
        images = (torch.stack(list(pictures.values())) - mean[:, None, None]) / deviation[:, None, None]
        scores = model.encode_text(ids, normalize=True) @ model.encode_image(images, normalize=True).t()
        queries = json.loads((FOLDER / "found.json").read_text())["queries"]
        self.assertEqual([query["query"] for query in queries], TEXTS)
        for query, expected in zip(queries, scores):
            theirs = dict(zip(pictures, expected.tolist()))
            self.assertEqual({match["name"] for match in query["matches"]}, set(theirs))
            for match in query["matches"]:
                self.assertAlmostEqual(match["score"], theirs[match["name"]], places=4)


if __name__ == "__main__":
    torch.set_num_threads(2)
    unittest.main(verbosity=2)
