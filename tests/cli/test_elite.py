"""The translator elite: a small model, image encoder and mapper, what it makes of pictures and masks, and what it refuses before any work."""
import json
import pathlib
import random
import shutil
import struct
import tempfile
import unittest

from support import DIFFUSION, SMALL, bytes_of, expect, png, run, write_pictures

WIDTH, LAYERS, WORDS = 6, 16, 16  # of the image encoder, and of a word: the text encoder's in support.py
KEYS = [f"{domain}/category-{category:02}/{image}.png" for domain in ("photo", "sketch") for category in range(8) for image in range(4)]
PROMPTS = '[photo]\nsubject = "a photo S"\n[sketch]\nsubject = "a sketch S"\n'


def read_header(file):
    content = file.read_bytes()
    return json.loads(content[8:8 + int.from_bytes(content[:8], "little")])


def write_weights(file, shapes, metadata=None):
    """A safetensors file of small random numbers; ones where a norm's weights are."""
    header, data, source = {"__metadata__": metadata} if metadata else {}, b"", random.Random(1)
    for name, shape in shapes.items():
        count = 1
        for side in shape:
            count *= side
        values = [1.0] * count if name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "layrnorm.weight", ".1.weight", ".4.weight")) else \
            [source.uniform(-0.4, 0.4) for _ in range(count)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * count]}
        data += struct.pack(f"<{count}f", *values)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_image_encoder(folder, layers=LAYERS, width=WIDTH):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "clip_vision_model", "image_size": 16, "patch_size": 8, "hidden_size": width,
                                                    "intermediate_size": 8, "num_hidden_layers": layers, "num_attention_heads": 2}))
    linear = lambda name, out, inside: {f"{name}.weight": [out, inside], f"{name}.bias": [out]}
    norm = lambda name: {f"{name}.weight": [width], f"{name}.bias": [width]}
    shapes = {"embeddings.class_embedding": [width], "embeddings.patch_embedding.weight": [width, 3, 8, 8], "embeddings.position_embedding.weight": [5, width],
              **norm("pre_layrnorm"), **norm("post_layernorm")}
    for i in range(layers):
        layer = f"encoder.layers.{i}"
        for part in "qkv":
            shapes |= linear(f"{layer}.self_attn.{part}_proj", width, width)
        shapes |= {**linear(f"{layer}.self_attn.out_proj", width, width), **linear(f"{layer}.mlp.fc1", 8, width), **linear(f"{layer}.mlp.fc2", width, 8),
                   **norm(f"{layer}.layer_norm1"), **norm(f"{layer}.layer_norm2")}
    write_weights(folder / "model.safetensors", shapes)


def write_mapper(file, checkpoint, width=WIDTH, words=WORDS, hidden=5):
    """For the UNet's own cross-attentions, by the names in its file."""
    shapes = {}
    for network in [f"mapping{kind}_{i}" for i in range(5) for kind in ("", "_patch")]:
        for name, shape in (("0", [hidden, width]), ("3", [hidden, hidden]), ("6", [words, hidden]), ("1", [hidden]), ("4", [hidden])):
            shapes |= {f"{network}.{name}.weight": shape, f"{network}.{name}.bias": shape[:1]}
    for name, entry in read_header(checkpoint / "unet" / "diffusion_pytorch_model.safetensors").items():
        if name.endswith((".attn2.to_k.weight", ".attn2.to_v.weight")):
            shapes[name.removesuffix(".weight").replace(".", "_") + ".weight"] = [entry["shape"][0], words]
    write_weights(file, shapes)


class Elite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-elite-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        write_pictures(cls.folder / "pictures", categories=8, images=4)
        expect(run("syncdr-data", "pack", cls.folder / "pictures", "-o", cls.folder / "data"), 0)
        (cls.folder / "prompts.toml").write_text(PROMPTS)
        cls.config = cls.folder / "small.toml"
        cls.config.write_text(SMALL.replace('["cds", "filter", "cut", "true"]', '["cds", "elite"]\nmain = "elite"')
                              .replace("unit_rows = 16", f'unit_rows = 4\ntranslator = "elite"\nprompts = "{cls.folder / "prompts.toml"}"\n'
                                       'diffusion = { steps = 3, scheduler = "LMSDiscreteScheduler" }')
                              + DIFFUSION.replace("steps = 4\nbatch = 4\nunet", "layout = \"text\"\nsteps = 4\nbatch = 4\nunet"))
        expect(cls.command("fit", "diffusion", name="model"), 0)
        cls.model = cls.folder / "model" / "fit" / "diffusion" / "checkpoint"
        write_image_encoder(cls.model / "image_encoder")
        cls.mapper = cls.folder / "mapper.safetensors"
        write_mapper(cls.mapper, cls.model)

    @classmethod
    def command(cls, *command, name="run", ranks=1):
        command, arguments = [*command[:2]] if command[0] == "fit" else [command[0]], command[2 if command[0] == "fit" else 1:]
        return run("syncdr", *command, cls.config, "--set", f"data.root={cls.folder / 'data'}", "--set", f"run.out={cls.folder / name}", *arguments, ranks=ranks)

    def translate(self, *sets, name="run", ranks=1, more=()):
        keys = {"translate.diffusion.checkpoint": self.model, "translate.elite.mapper": self.mapper, **dict(one.split("=", 1) for one in sets)}
        return self.command("translate", *(part for key, value in keys.items() for part in ("--set", f"{key}={value}")), *more, name=name, ranks=ranks)

    def units(self, name):
        return self.folder / "data" / "synthetic" / "photo-to-sketch" / f"{name}-elite"

    def refused(self, code, *texts, sets=()):
        expect(self.translate(*sets, name="refused"), code, *texts)
        self.assertFalse(self.units("refused").exists())

    def test_translations_are_the_same_bytes_on_any_number_of_ranks(self):
        for ranks in (1, 2, 3):
            expect(self.translate(name=f"ranks{ranks}", ranks=ranks), 0, "sampler LMSDiscreteScheduler: 3 of 3 calls")
        made = [bytes_of(self.units(f"ranks{ranks}")) for ranks in (1, 2, 3)]
        self.assertTrue(made[0])
        self.assertEqual(made[0], made[1])
        self.assertEqual(made[0], made[2])

    def test_words_are_swept(self):
        expect(self.translate(name="swept", more=("--sweep", "translate.elite.word=0,3,-1")), 0, "sweep-translate.elite.word.png")

    def test_masks_are_alpha_or_files(self):
        (self.folder / "mask.png").write_bytes(png(32, 32, lambda x, y: (255,) * 3 if 4 < x < 20 and y > 9 else (0,) * 3))
        lines, masks = [f"{key}\tmask.png\n" for key in KEYS], self.folder / "masks.tsv"
        masks.write_text("".join(lines))
        expect(self.translate(f"translate.elite.masks={masks}", name="masked"), 0)
        expect(self.translate(name="whole"), 0)
        self.assertNotEqual(bytes_of(self.units("masked")), bytes_of(self.units("whole")))
        expect(self.translate("translate.elite.masks=alpha", "translate.max_bad_share=0", name="opaque"), 65, "quarantined", "has no alpha channel")
        masks.write_text(lines[0])
        self.refused(65, "masks.tsv: has no line for", sets=[f"translate.elite.masks={masks}"])
        masks.write_text("".join(lines).replace("mask.png\n", "missing.png\n"))
        self.refused(65, "is not there", "missing.png", sets=[f"translate.elite.masks={masks}"])

    def test_files_that_are_missing_or_do_not_fit_are_named_before_any_work(self):
        self.refused(2, "set translate.diffusion.checkpoint", sets=["translate.diffusion.checkpoint="])
        self.refused(65, "has no mapper. Train one with `syncdr fit elite-mapper`", sets=["translate.elite.mapper="])
        self.refused(65, "none.safetensors", "convert --as elite", sets=["translate.elite.mapper=none.safetensors"])
        self.refused(2, "nowhere is not there. Set translate.elite.image_encoder", sets=["translate.elite.image_encoder=nowhere"])
        other = self.folder / "other.safetensors"
        for shape, text in (({"width": 7}, "maps hidden states of 7 values, those of the image encoder"), ({"words": 24}, "makes words of 24 values, the text encoder")):
            write_mapper(other, self.model, **shape)
            self.refused(65, "other.safetensors", text, sets=[f"translate.elite.mapper={other}"])
        write_weights(other, {"fc.weight": [2, 2]})
        self.refused(65, "is no mapper of ELITE", sets=[f"translate.elite.mapper={other}"])
        write_image_encoder(self.folder / "shallow", layers=LAYERS - 1)
        self.refused(65, "maps hidden state 16, the image encoder", "15 layers", sets=[f"translate.elite.image_encoder={self.folder / 'shallow'}"])
        self.refused(2, "translate.elite.word", sets=["translate.elite.word=5"])

    def test_texts_without_one_word_s_are_named_before_any_work(self):
        prompts, texts = self.folder / "wrong.toml", self.folder / "texts.tsv"
        for subject, text in (("a sketch", "nowhere"), ("S on S", "2 times")):
            prompts.write_text(PROMPTS.replace("a sketch S", subject))
            self.refused(65, f'wrong.toml: sketch.subject: "{subject}" holds the word S {text}', sets=[f"translate.prompts={prompts}"])
        prompts.write_text('[photo]\nsubject = "a S"\n[sketch]\ndescription = "a sketch"\n')
        self.refused(65, 'domain "sketch" has no subject', sets=[f"translate.prompts={prompts}"])
        texts.write_text("".join(f"{key}\ta picture\n" for key in KEYS))
        self.refused(65, "texts.tsv:", "holds the word S nowhere", sets=[f"translate.image_prompts={texts}"])
        prompts.write_text(PROMPTS.replace("a sketch S", "a sketch drawn by S"))  # 16 tokens: beginning, 13 letters, S, end
        expect(self.translate(f"translate.prompts={prompts}", "translate.elite.word=-1", name="late"), 65, "Write it further in front")


if __name__ == "__main__":
    unittest.main()
