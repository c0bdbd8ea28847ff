"""Makes the inputs that fuzzing begins with, a folder for each target. usage: seeds.py FOLDER"""
import io
import json
import pathlib
import struct
import sys
import tarfile

import numpy as np
import PIL.Image
import torch
from safetensors.torch import save

OUT = pathlib.Path(sys.argv[1])


def put(target, name, content):
    (OUT / target).mkdir(parents=True, exist_ok=True)
    (OUT / target / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def saved(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def pictures():
    pixels = (np.mgrid[0:24, 0:20].sum(0)[..., None] * [5, 3, 1] % 256).astype(np.uint8)
    rgb = PIL.Image.fromarray(pixels)
    exif = PIL.Image.Exif()
    exif[0x112], exif[0x10F], exif[0x11A] = 6, "maker", 72.0
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    block = exif.tobytes()
    put("exif", "intel", block[6:])
    put("exif", "motorola", b"MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\x01\x0f\0\x02\0\0\0\x06\0\0\0\x26\0\0\0\0maker\0")
    modes = {"rgb": rgb, "grey": rgb.convert("L"), "palette": rgb.convert("P"), "alpha": rgb.convert("RGBA"), "bits": rgb.convert("1"), "inks": rgb.convert("CMYK"),
             "deep": PIL.Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)}
    written = {"jpeg": {"rgb": {"exif": block}, "grey": {}, "inks": {}}, "png": {"rgb": {"exif": exif}, "grey": {}, "palette": {}, "alpha": {}, "bits": {}, "deep": {}},
               "webp": {"rgb": {"exif": block}, "alpha": {"lossless": True}}, "tiff": {mode: {} for mode in modes}}
    for format, kinds in written.items():
        for mode, options in kinds.items():
            put(format, mode, saved(lambda file: modes[mode].save(file, format, **options)))
    put("jpeg", "progressive", saved(lambda file: rgb.save(file, "jpeg", progressive=True)))
    put("jpeg", "surplus", saved(lambda file: rgb.save(file, "jpeg"))[:-2] + b"surplus\xff\xd9")
    for compression in "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg":
        put("tiff", compression, saved(lambda file: rgb.save(file, "tiff", compression=compression)))
    put("tiff", "group4", saved(lambda file: modes["bits"].save(file, "tiff", compression="group4")))


def weights():
    tensors = {"a.weight": torch.arange(6.0).view(2, 3), "a.half": torch.ones(2, dtype=torch.float16), "b.steps": torch.tensor(3), "b.on": torch.tensor([True, False]),
               "none": torch.zeros(0, 4)}
    put("safetensors", "tensors", save(tensors, {"format": "pt"}))
    put("safetensors", "empty", save({}))
    for name, content in {"flat": tensors, "nested": {"epoch": 3, "state_dict": {"model": tensors}, "best": [0.5, None, {1, 2}], "shape": torch.Size([1, 2])},
                          "views": {"t": tensors["a.weight"].t(), "row": tensors["a.weight"][1], "p": torch.nn.Parameter(torch.ones(2))},
                          "object": {"w": torch.ones(1), "args": pathlib.PurePosixPath("a")}}.items():
        for old in False, True:
            put("torch_file", f"{name}-{'stream' if old else 'archive'}", saved(lambda file: torch.save(content, file, _use_new_zipfile_serialization=not old)))


def archives():
    def tar(format, members):
        def write(file):
            with tarfile.open(fileobj=file, mode="w", format=format) as archive:
                for name, content in members.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        return saved(write)[:6144]  # the rest is padding

    plain = {"a/1.jpg": b"\xff\xd8\xff", "a/1.cls": b"3", "a/2.PNG": b"\x89PNG", "a/2.cls": b"4"}
    put("tar", "ustar", tar(tarfile.USTAR_FORMAT, plain))
    put("tar", "pax", tar(tarfile.PAX_FORMAT, {"d" * 150 + "/\u00e9.jpg": b"x", "b.json": b"{}"}))
    put("tar", "gnu", tar(tarfile.GNU_FORMAT, {"d" * 150 + "/1.jpg": b"x"}))
    put("tar", "empty", bytes(1024))


def texts():
    put("list", "labels", "a.png 0\nd/e.jpg 12\n/elsewhere/b c.png 1\n")
    put("list", "bare", "\ufeffa.png\r\nb c.png -1\n")
    put("table", "commas", 'path,domain,split,category,prompt\na.png,photo,train,cat,"a ""cat"", sitting"\nb c.png,photo,test,dog,\n')
    put("table", "tabs", "path\tdomain\tlabel\tmask\na.png\tphoto\t0\td/e.jpg\r\n")
    put("table", "semicolons", "domain;path\nart;\"d/e.jpg\"\n")
    put("config", "all", ".on = true\ncount = 0x10\nrate = 1e-3\nname = \"\\u00e9\"\nnumbers = [1, -2]\nrates = [1.0, inf]\nwords = ['a', \"\"\"b\"\"\"]\n"
                         "list = [{weight = 2.0, word = \"b\"}]\n[inner]\nweight = 3\n")
    put("config", "setting", "-inner.word=b")
    put("config", "prompts", '.[photo]\ndescription = "a photo"\nsubject = "a photo of S"\n[sketch]\ninstruction = """make it\na sketch"""\n')
    put("manifest", "dataset", json.dumps({"format": "syncdr-manifest", "version": 1, "kind": "dataset", "name": "office", "domains": ["Art", "Clipart"],
                                           "settings": {"codec": "jpeg", "size": "0"},
                                           "entries": [{"file": "real/Art/train-00000-of-00001.h5", "rows": 4, "bytes": 12345, "hash": "9" * 32}]}))
    put("manifest", "json", '{"a": [1, -2.5e3, 1e-320, true, null, "\\ud83d\\ude00\\n"], "b": {"": [], "c": {}}, "d": 18446744073709551615}')


def tokenizers():
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = {token: k for k, token in enumerate([*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>", "ca", "cat</w>"])}
    special = [{"id": vocabulary[text], "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": True}
               for text in ("<|startoftext|>", "<|endoftext|>")]
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    ends = [[text, vocabulary[text]] for text in ("<|endoftext|>", "<|startoftext|>")]
    library = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
               "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]},
               "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                   {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True},
                   {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
               "post_processor": {"type": "RobertaProcessing", "sep": ends[0], "cls": ends[1], "trim_offsets": False, "add_prefix_space": False},
               "decoder": {"type": "ByteLevel"},
               "model": {"type": "BPE", "dropout": None, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "fuse_unk": False,
                         "vocab": vocabulary, "merges": ["c a", ["ca", "t</w>"]]}}
    token = {"__type": "AddedToken", "content": "<|endoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    names = ("bos_token", "<|startoftext|>"), ("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>"), ("pad_token", "!")
    for which, content in enumerate((json.dumps(library), json.dumps(vocabulary), "#version: 0.2\nc a\nca t</w>\n",
                                     json.dumps({"model_max_length": 77, "unk_token": token, "tokenizer_class": "CLIPTokenizer", "added_tokens_decoder": {"514": {**token, "content": "<cat>"}}}),
                                     json.dumps({**dict(names), "additional_special_tokens": ["<cat>"]}), json.dumps({"<cat>": 516, "<dog>": 517}), "A photo of a cat's tail, 12 \u00e9\u4e2d <|endoftext|>")):
        put("tokenizer", str(which), bytes([which]) + content.encode())


def shards():
    """The target makes the shard; the bytes say what to change: a part, how, and with which values."""
    put("shard", "good", b"")
    put("shard", "dropped", bytes([14, 0]))
    put("shard", "retyped", bytes([9, 1, 4, 10, 1, 5]))
    put("shard", "number", bytes([9, 2, 1]) + struct.pack(">q", 1 << 62))
    put("shard", "text", bytes([11, 2, 0, 9]) + b"photo/b.p")
    put("shard", "longer", bytes([12, 3]) + struct.pack(">q", 5) + bytes([11, 3, 3]) + b"new" + bytes([10, 4]))
    put("shard", "many", bytes([16, 5, 200, 11, 5, 200]))


pictures()
weights()
archives()
texts()
tokenizers()
shards()
