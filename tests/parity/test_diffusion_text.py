"""CLIP's tokenizer and text encoder against both generations of transformers, 4.57 (this Python's) and 5.23: the same ids, hidden states to 1e-5,
whichever of the two wrote the folder; and what we write, read by both."""
import collections
import json
import os
import pathlib
import random
import shutil
import tempfile
import unicodedata
import unittest

import torch
from generations import next_generation, this_generation
from probe import probe
from safetensors.torch import load_file, save_file
from transformers.models.clip.tokenization_clip import bytes_to_unicode

START, END = "<|startoftext|>", "<|endoftext|>"

WORDS = """
a an the of in on and with photo picture painting drawing sketch clipart art product real world realistic style image close up cropped
good bad bright dark small large weird toy plush cat dog bird horse chair table lamp clock alarm backpack bicycle bottle bucket calculator
calendar candle computer curtain desk door drill eraser fan file flipflops flower folder fork glasses hammer helmet kettle keyboard knife
laptop marker monitor mop mouse mug notebook oven pan paper pen pencil printer radio refrigerator ruler scissors screwdriver shelf sink
sneakers soda speaker spoon television toothbrush toys trash webcam it's don't they're we've i'm she'll he'd naïve café straße 2024 3d
100% !! ?! ... 漢 字 😀""".split()

ODD = [
    "ẞ", "ß", "ſ", "'ſ", "İ", "ı", "Σ", "ΑΣ", "ΑΣ.", "Ǆ", "ǅ", "ﬁ", "\u212a", "\u212b", "é", "e\u0301", "e\u0323\u0302", "\u0301",
    "n\u0303", "각", "\u1100\u1161\u11a8", "漢字", "㐀", "𠀀", "\uf900", "\ufa11", "ひらがな", "カタカナ", "한국어", "नमस्ते", "ไทย", "العربية", "עִברִית",
    "😀", "👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "❤️", "☃", "½", "²", "Ⅷ", "ⅷ", "①", "٣", "๓", "\u0345", "\u1fbe", "A\u0345",
    "\u0000", "\u0007", "\u001b", "\u007f", "\u0085", "\u00a0", "\u00ad", "\u200b", "\u2028", "\u2029", "\u3000", "\ufeff", "\ufffd",
    "\ue000", "\u0378", "\t", "\n", "\r\n", "\v", "\f", "\x1c", "'s", "'S", "'LL", "'Re", "''", "!", "!!", "a!", "!'s", "<", "|>",
    START, END, START.upper(), END.title(), "!" + END.upper() + "!", "a" + START.upper() + "!!", "<|ſtartoftext|>", "<|endoftext", "$€", "a_b",
    "1,000.5", "www.x-y.org/?q=1"]


GENERATIONS = {"4.57": this_generation, "5.23": next_generation}


def original(generation, function, **arguments):
    return GENERATIONS[generation]("originals_text", function, **arguments)


def trained_merges(count):
    """Byte-pair encoding as it is trained: again and again the most frequent pair of the words' symbols."""
    letters = bytes_to_unicode()
    words = [[letters[byte] for byte in word.encode()] for word in WORDS]
    for word in words:
        word[-1] += "</w>"
    merges = []
    while len(merges) < count:
        pairs = collections.Counter(pair for word in words for pair in zip(word, word[1:]))
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.get)
        merges.append(best)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i:i + 2] = ["".join(best)]
                i += 1
    return merges


def write_vocabulary(folder):
    merges = trained_merges(250)
    letters = list(bytes_to_unicode().values())
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges] + [START, END]
    tokens = list(dict.fromkeys(tokens))
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")


def random_texts(count):
    """Words, oddities and characters from everywhere; of those only what Unicode 3.2 had already, so that any ICU knows them."""
    generator = random.Random(1)
    codes = [*range(0xD800), *range(0xE000, 0x110000)]  # all but surrogates
    known = [chr(code) for code in codes if unicodedata.ucd_3_2_0.category(chr(code)) != "Cn"]
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(generator.choice([1, 3, 8, 20, 60])):
            kind = generator.random()
            word = generator.choice(WORDS)
            if kind < 0.5:
                parts.append(generator.choice([word, word.upper(), word.title()]))
            elif kind < 0.8:
                parts.append(generator.choice(ODD))
            else:
                parts.append(generator.choice(known))
            parts.append(generator.choice(["", " ", " ", "  ", ", "]))
        texts.append("".join(parts))
    return texts


def between_letters():
    """Every code point that this Python's Unicode assigns, each between two letters, 64 to a text."""
    codes = [*range(0xD800), *range(0xE000, 0x110000)]  # all but surrogates
    kept = [chr(code) for code in codes if unicodedata.category(chr(code)) != "Cn"]
    return [" ".join(f"a{c}b" for c in kept[i:i + 64]) for i in range(0, len(kept), 64)]


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="syncdr-parity-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def written(self):
        """A checkpoint that we write."""
        given = {"sample": torch.zeros(1, 8, 8, 8), "times": torch.tensor([0]), "ids": torch.zeros(1, 32, dtype=torch.int64),
                 "latents": torch.zeros(1, 8, 8, 8)}
        probe("write-checkpoint", given, self.folder / "written", pipeline="StableDiffusionPipeline", texts=["a"], condition_channels=0)
        return self.folder / "written"


class Tokenizer(Folder):
    LONG = ["a" * 3000, "the cat " * 2000, "👩\u200d👩\u200d👧" * 500, "Alarm Clock 😀" * 1000, "é" * 700]
    TEXTS = ODD + WORDS + random_texts(400) + ["", " "] + LONG
    PSEUDO_TEXTS = ["a photo of <emoji-style>", "<Toy><Toy> <toy>", "my<Toy>s", "<emoji-style-2> and <emoji-style>-2", "sksword SKS sks", "a<Toy",
                    "<EMOJI-STYLE>!", "<TOY>"] + TEXTS[:50]
    PSEUDO_WORDS = ["<emoji-style>", "<Toy>", "<emoji-style-2>", "sks", "<Toy>_1", "<Toy>_2", "sks_1"]

    def setUp(self):
        super().setUp()
        self.older = self.folder / "older"
        self.older.mkdir()
        write_vocabulary(self.older)

    def configure(self, **fields):
        """tokenizer_config.json of the older files."""
        (self.older / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 77, **fields}))

    def compare(self, generation, folder, texts=TEXTS, add=(), **more):
        """The ids of an original that reads the folder, and ours."""
        theirs = original(generation, "tokenize", folder=folder, texts=texts, add=list(add), **more)
        encoded = [text.encode() for text in texts]
        data = torch.frombuffer(bytearray(b"".join(encoded)), dtype=torch.uint8)
        ends = torch.tensor([len(text) for text in encoded]).cumsum(0)
        ours = probe("tokenize", {"bytes": data, "ends": ends}, folder, add=list(add))
        whole, start, different = ours["whole"].tolist(), 0, []
        for text, end, ids in zip(texts, ours["whole_ends"].tolist(), theirs["whole"]):
            if whole[start:end] != ids:
                different.append((text[:200], whole[start:end][:100], ids[:100]))
            start = end
        self.assertEqual(different[:5], [], f"{len(different)} of {len(texts)} texts differ")
        self.assertEqual(ours["encoded"].tolist(), theirs["encoded"])
        self.assertEqual(ours["added"].tolist(), theirs["added"])
        print(f"ok   tokenize, {generation}: the ids of {len(texts)} texts, {len(whole)} in all")

    def compare_saved(self, generation, texts=TEXTS, **more):
        """An original reads the older files and saves what it read; the ids of what it saved. Returns that folder."""
        saved = self.folder / f"saved{len(os.listdir(self.folder))}"
        self.compare(generation, saved, texts, source=self.older, **more)
        return saved

    # Folders with vocab.json: what transformers 4's CLIPTokenizer, which is in Python, makes of them.

    def test_as_transformers_4_saves_it(self):
        self.configure()
        self.assertGreaterEqual(len(self.TEXTS), 500)
        self.compare_saved("4.57")

    def test_every_character_of_older_files(self):
        self.configure()
        self.compare("4.57", self.older, between_letters())

    def test_older_files_with_the_padding_of_stable_diffusion_2(self):
        self.put_stable_diffusion_2()
        self.compare("4.57", self.older)

    def put_stable_diffusion_2(self):
        options = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        parts = {name: {"content": content, **options} for name, content in (("bos_token", START), ("eos_token", END), ("unk_token", END))}
        self.configure(**{name: {"__type": "AddedToken", **part} for name, part in parts.items()}, pad_token=END, add_prefix_space=False,
                       do_lower_case=True, errors="replace", name_or_path="x", special_tokens_map_file="./special_tokens_map.json",
                       tokenizer_class="CLIPTokenizer")
        (self.older / "special_tokens_map.json").write_text(json.dumps({**parts, "pad_token": "!"}))

    def test_pseudo_words(self):
        self.configure(model_max_length=20)
        self.compare("4.57", self.older, self.PSEUDO_TEXTS, self.PSEUDO_WORDS)
        self.compare_saved("4.57", self.PSEUDO_TEXTS, added_before=self.PSEUDO_WORDS)

    # Folders with tokenizer.json alone: what the tokenizers library makes of them.

    def test_as_transformers_5_saves_it(self):
        self.configure()
        saved = self.compare_saved("5.23")
        self.assertEqual(sorted(os.listdir(saved)), ["tokenizer.json", "tokenizer_config.json"])

    def test_every_character_of_tokenizer_json(self):
        self.configure()
        self.compare_saved("5.23", between_letters())

    def test_transformers_5_with_special_tokens_that_are_normalized(self):
        self.configure()
        shutil.copytree(self.compare_saved("4.57", ["a"]), self.older, dirs_exist_ok=True)
        self.assertIn('"normalized": true', (self.older / "tokenizer_config.json").read_text())
        self.compare_saved("5.23")

    def test_transformers_5_with_the_padding_of_stable_diffusion_2(self):
        self.put_stable_diffusion_2()
        self.compare_saved("5.23")

    def test_pseudo_words_of_transformers_5(self):
        self.configure(model_max_length=20)
        self.compare_saved("5.23", self.PSEUDO_TEXTS, add=self.PSEUDO_WORDS)
        self.compare_saved("5.23", self.PSEUDO_TEXTS, added_before=self.PSEUDO_WORDS)

    def test_transformers_5_saved_over_older_files(self):
        self.configure()
        shutil.copytree(self.compare_saved("4.57", ["a"]), self.older, dirs_exist_ok=True)
        shutil.copytree(self.compare_saved("5.23", ["a"]), self.older, dirs_exist_ok=True)
        self.assertTrue((self.older / "vocab.json").exists())
        self.compare("5.23", self.older)

    def test_the_fast_class_of_transformers_4(self):
        self.configure()
        saved = self.folder / "saved"
        original("4.57", "tokenize", folder=saved, source=self.older, texts=["a"], cls="CLIPTokenizerFast")
        self.compare("4.57", saved)  # the folder has vocab.json too, which CLIPTokenizer reads
        for name in ("vocab.json", "merges.txt"):
            (saved / name).unlink()
        self.compare("4.57", saved, cls="CLIPTokenizerFast")
        for path in saved.iterdir():  # now start and end in upper case are words for the pattern, which is not transformers 5's
            path.write_text(path.read_text().replace('"normalized": true', '"normalized": false'))
        self.compare("4.57", saved, cls="CLIPTokenizerFast")

    def test_what_we_write_is_read_by_both(self):
        folder = self.written() / "tokenizer"
        self.compare("4.57", folder)
        self.compare("5.23", folder, ["A photo of it's 42!", "naïve"])  # other alphabets: transformers 5 has no longer the rules of these files
        self.compare("5.23", self.folder / "again", source=folder)


class TextEncoder(Folder):
    def close(self, what, ids, theirs):
        index = {"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"]}
        (self.folder / "model_index.json").write_text(json.dumps(index))
        ours = probe("text", {"ids": torch.tensor(ids)}, self.folder)["hidden"]
        error = float((ours - theirs).norm() / theirs.norm())
        print(f"{'ok  ' if error <= 1e-5 else 'FAIL'} text, {what}: {error:.1e} (at most 1e-5)")
        self.assertLessEqual(error, 1e-5)

    def encoded_by(self, generation, ids, save=None):
        result = self.folder / "theirs.safetensors"
        original(generation, "encode", folder=self.folder / "text_encoder", ids=ids, result=result, save=save)
        return load_file(result)["hidden"]

    def compare(self, length, edit=lambda folder: None, dtype="float32", saving={}, **config):
        torch.manual_seed(length)
        ids = torch.randint(0, 99, (3, length)).tolist()
        for generation in GENERATIONS:
            shutil.rmtree(self.folder / "text_encoder", ignore_errors=True)
            result = self.folder / "theirs.safetensors"
            original(generation, "make_text_encoder", folder=self.folder / "text_encoder", config={"vocab_size": 99, **config}, seed=length, ids=ids,
                     result=result, dtype=dtype, **saving)
            edit(self.folder / "text_encoder")
            self.close(f"{generation}, {config}", ids, load_file(result)["hidden"])

    def test_as_in_stable_diffusion_1(self):
        self.compare(77, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, eos_token_id=2)

    def test_as_in_stable_diffusion_2(self):
        self.compare(77, hidden_size=48, intermediate_size=192, num_hidden_layers=5, num_attention_heads=6, hidden_act="gelu",
                     projection_dim=16)

    def test_a_shorter_text_and_other_constants(self):
        self.compare(5, hidden_size=20, intermediate_size=12, num_hidden_layers=1, num_attention_heads=1, layer_norm_eps=1e-2,
                     attention_dropout=0.3, max_position_embeddings=9, hidden_act="gelu")

    def test_half_precision_in_shards_with_the_older_buffer(self):
        def add_buffer(folder):
            index = json.loads((folder / "model.safetensors.index.json").read_text())
            self.assertGreater(len(set(index["weight_map"].values())), 1)
            prefix = "" if "final_layer_norm.bias" in index["weight_map"] else "text_model."
            name = prefix + "embeddings.position_ids"
            index["weight_map"][name] = "model-with-buffer.safetensors"
            save_file({name: torch.arange(77)[None]}, folder / "model-with-buffer.safetensors")
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))

        self.compare(30, edit=add_buffer, dtype="float16", saving={"max_shard_size": "20KB"}, hidden_size=32, intermediate_size=64,
                     num_hidden_layers=2, num_attention_heads=2)

    def test_an_older_one_that_transformers_5_saves_again(self):
        folder = self.folder / "text_encoder"
        config = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        ids = torch.randint(0, 99, (2, 20)).tolist()
        original("4.57", "make_text_encoder", folder=folder, config=config, seed=1, ids=ids, result=self.folder / "unused")
        theirs = self.encoded_by("5.23", ids, save=self.folder / "again")
        self.assertTrue(all(name.startswith("text_model.") for name in load_file(self.folder / "again" / "model.safetensors")))
        shutil.rmtree(folder)
        (self.folder / "again").rename(folder)
        self.close("4.57, saved again by 5.23", ids, theirs)

    def test_what_we_write_is_read_by_both(self):
        (self.written() / "text_encoder").rename(self.folder / "text_encoder")
        ids = torch.randint(0, 514, (2, 32)).tolist()
        for generation in GENERATIONS:
            self.close(f"ours, read by {generation}", ids, self.encoded_by(generation, ids))


if __name__ == "__main__":
    unittest.main()
