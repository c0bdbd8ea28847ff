"""CLIP's tokenizer and text encoder against transformers: the same ids, hidden states to 1e-5."""
import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata
import unittest

import torch
from safetensors.torch import load_file, save_file

sys.modules["ftfy"] = None  # the original cleans text in another way where ftfy is installed
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: E402
from transformers.models.clip.tokenization_clip import bytes_to_unicode  # noqa: E402
from transformers.utils import logging  # noqa: E402

PROBE = os.path.join(os.environ["SYNCDR_BIN"], "parity_probe")
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
    START, END, START.upper(), END.title(), "<|ſtartoftext|>", "<|endoftext", "$€", "a_b", "1,000.5", "www.x-y.org/?q=1"]


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


def all_characters():
    """Every character of Unicode 3.2 but the long lists of ideographs and Hangul, sixteen to a text."""
    codes = [*range(0x3400), *range(0xF900, 0x20000), *range(0xE0000, 0xF0000)]
    kept = [chr(code) for code in codes if unicodedata.ucd_3_2_0.category(chr(code)) != "Cn"]
    return ["x".join(f"{c} {c}{c}" for c in kept[i:i + 16]) for i in range(0, len(kept), 16)]


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="syncdr-parity-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        logging.set_verbosity_error()

    def probe(self, what, tensors, folder, **more):
        source, result = self.folder / "in.safetensors", self.folder / "out.safetensors"
        save_file(tensors, source)
        config = "\n".join(f"{key} = {json.dumps(value)}" for key, value in more.items())
        subprocess.run([PROBE, what, "--model", folder, "--in", source, "--out", result, "--config", config], check=True, timeout=120)
        return load_file(result)


class Tokenizer(Folder):
    LONG = ["a" * 3000, "the cat " * 2000, "👩\u200d👩\u200d👧" * 500, "Alarm Clock 😀" * 1000, "é" * 700]
    TEXTS = ODD + WORDS + random_texts(400) + ["", " "] + LONG

    def compare(self, tokenizer, folder, texts=TEXTS, add=()):
        encoded = [text.encode() for text in texts]
        data = torch.frombuffer(bytearray(b"".join(encoded)), dtype=torch.uint8)
        ends = torch.tensor([len(text) for text in encoded]).cumsum(0)
        ours = self.probe("tokenize", {"bytes": data, "ends": ends}, folder, add=list(add))
        if add:
            self.assertEqual(tokenizer.add_tokens(list(add)), len(add))
            self.assertEqual(ours["added"].tolist(), tokenizer.convert_tokens_to_ids(list(add)))
        start = 0
        for text, end in zip(texts, ours["whole_ends"].tolist()):
            theirs = tokenizer(text, add_special_tokens=False)["input_ids"]
            mine = ours["whole"][start:end].tolist()
            self.assertEqual(tokenizer.convert_ids_to_tokens(mine), tokenizer.convert_ids_to_tokens(theirs), repr(text[:200]))
            self.assertEqual(mine, theirs)
            start = end
        frame = {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True, "return_tensors": "pt"}
        theirs = tokenizer(texts, **frame)["input_ids"]
        self.assertTrue(torch.equal(ours["encoded"], theirs))
        print(f"ok   tokenize: the ids of {len(texts)} texts, {len(ours['whole'])} in all")

    def test_as_transformers_saves_it(self):
        write_vocabulary(self.folder)
        saved = self.folder / "tokenizer"
        CLIPTokenizer(self.folder / "vocab.json", self.folder / "merges.txt", model_max_length=77).save_pretrained(saved)
        self.assertGreaterEqual(len(self.TEXTS), 500)
        self.compare(CLIPTokenizer.from_pretrained(saved), saved)

    def test_every_character(self):
        write_vocabulary(self.folder)
        (self.folder / "tokenizer_config.json").write_text('{"model_max_length": 77}')
        self.compare(CLIPTokenizer.from_pretrained(self.folder), self.folder, all_characters())

    def test_older_files_with_the_padding_of_stable_diffusion_2(self):
        write_vocabulary(self.folder)
        options = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        parts = {name: {"content": content, **options} for name, content in (("bos_token", START), ("eos_token", END), ("unk_token", END))}
        (self.folder / "tokenizer_config.json").write_text(json.dumps({
            **{name: {"__type": "AddedToken", **part} for name, part in parts.items()}, "pad_token": END,
            "add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77, "name_or_path": "x",
            "special_tokens_map_file": "./special_tokens_map.json", "tokenizer_class": "CLIPTokenizer"}))
        (self.folder / "special_tokens_map.json").write_text(json.dumps({**parts, "pad_token": "!"}))
        tokenizer = CLIPTokenizer.from_pretrained(self.folder)
        self.assertEqual(tokenizer.pad_token_id, 0)
        self.compare(tokenizer, self.folder)

    def test_pseudo_words(self):
        texts = ["a photo of <emoji-style>", "<Toy><Toy> <toy>", "my<Toy>s", "<emoji-style-2> and <emoji-style>-2", "sksword SKS sks"]
        texts += ["a<Toy"] + self.TEXTS[:50]
        write_vocabulary(self.folder)
        saved = self.folder / "tokenizer"
        tokenizer = CLIPTokenizer(self.folder / "vocab.json", self.folder / "merges.txt", model_max_length=20)
        tokenizer.save_pretrained(saved)
        words = ["<emoji-style>", "<Toy>", "<emoji-style-2>", "sks"]
        self.compare(tokenizer, saved, texts, words)
        tokenizer.save_pretrained(saved)
        self.compare(CLIPTokenizer.from_pretrained(saved), saved, texts)


class TextEncoder(Folder):
    def compare(self, length, cast=torch.float32, saving={}, edit=lambda folder: None, **config):
        torch.manual_seed(length)
        model = CLIPTextModel(CLIPTextConfig(vocab_size=99, **config)).eval()
        for name, parameter in model.named_parameters():
            mean = 1.0 if "norm" in name and "weight" in name else 0.0
            parameter.data = torch.randn_like(parameter) * (0.1 if parameter.dim() == 1 else 0.3) + mean
        model.to(cast).save_pretrained(self.folder / "text_encoder", **saving)
        index = {"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"]}
        (self.folder / "model_index.json").write_text(json.dumps(index))
        edit(self.folder / "text_encoder")
        ids = torch.randint(0, 99, (3, length))
        with torch.no_grad():
            theirs = model.float()(ids).last_hidden_state
        ours = self.probe("text", {"ids": ids}, self.folder)["hidden"]
        error = float((ours - theirs).norm() / theirs.norm())
        print(f"{'ok  ' if error <= 1e-5 else 'FAIL'} text {config}: {error:.1e} (at most 1e-5)")
        self.assertLessEqual(error, 1e-5)

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
            name = "text_model.embeddings.position_ids"
            index["weight_map"][name] = "model-with-buffer.safetensors"
            save_file({name: torch.arange(77)[None]}, folder / "model-with-buffer.safetensors")
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))

        self.compare(30, cast=torch.float16, saving={"max_shard_size": "20KB"}, edit=add_buffer, hidden_size=32, intermediate_size=64,
                     num_hidden_layers=2, num_attention_heads=2)


if __name__ == "__main__":
    unittest.main()
