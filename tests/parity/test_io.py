"""safetensors and HDF5 files of ours against the Python packages that others read them with."""
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest
import zlib

import h5py
import numpy
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from generations import next_generation

BIN = pathlib.Path(os.environ["SYNCDR_BIN"])


def run(*command):
    process = subprocess.run([str(BIN / command[0]), *map(str, command[1:])], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, f"{command}: {process.returncode}\n{process.stdout}{process.stderr}"
    return process.stderr


def safetensors(header, data=0, stated=None):
    """A file's bytes: header (text, or what is written as JSON), as many bytes of data, the length that is stated for the header."""
    text = header if isinstance(header, str) else json.dumps(header)
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw) if stated is None else stated) + raw + bytes(i % 2 for i in range(data))


def entry(dtype="F32", shape=(2,), begin=0, end=8, **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


READ = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}
PASSED_OVER = {"U64": 64, "U32": 32, "U16": 16, "C64": 64, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8, "F6_E2M3": 6,
               "F6_E3M2": 6, "F4": 4}
PLAIN, TEXT = {"a": entry()}, json.dumps(entry())
DEEP = '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":' + "[" * 100 + "]" * 100 + "}}"
# Odd files, in three groups: both readers take them, both refuse them, only the original takes them.
TAKEN = {
    "plain": safetensors(PLAIN, 8),
    "no tensor": safetensors({}),
    "metadata null": safetensors({"__metadata__": None, **PLAIN}, 8),
    "metadata empty": safetensors({"__metadata__": {}, **PLAIN}, 8),
    "metadata": safetensors({"__metadata__": {"format": "pt"}, **PLAIN}, 8),
    "unknown members": safetensors({"a": entry(more=1, other={"x": [None]})}, 8),
    "scalar": safetensors({"a": entry(shape=[], end=4)}, 4),
    "empty first": safetensors({"a": entry(), "b": entry(shape=[3, 0], begin=0, end=0)}, 8),
    "empty last": safetensors({"a": entry(), "b": entry(shape=[3, 0], begin=8, end=8)}, 8),
    "only empty": safetensors({"b": entry(shape=[0], end=0)}),
    "empty of a type passed over": safetensors({"a": entry(), "b": entry("U32", [0], 8, 8)}, 8),
    "widest empty": safetensors({"a": entry(shape=[0, (1 << 63) - 1], end=0)}),
    "spaces after": safetensors(json.dumps(PLAIN) + "   ", 8),
    "white space around": safetensors("\n\r\t " + json.dumps(PLAIN, indent=2) + "\n\n", 8),
    "not aligned": safetensors({"a": entry("U8", [1], 0, 1), "b": entry("F32", [1], 1, 5)}, 5),
    "64 dimensions": safetensors({"a": entry("U8", [1] * 64, 0, 1)}, 1),
    "name empty": safetensors({"": entry()}, 8),
    "name NUL": safetensors({"\0": entry()}, 8),
    **{f"type {name}": safetensors({"a": entry(name, [8], 0, bits), "b": entry("F32", [1], bits, bits + 4)}, bits + 4)
       for name, bits in {**READ, **PASSED_OVER}.items()},
}
REFUSED = {
    "gap": safetensors({"a": entry(), "b": entry(begin=12, end=20)}, 20),
    "gap before": safetensors({"a": entry(begin=4, end=12)}, 12),
    "gap of a type passed over": safetensors({"a": entry(), "b": entry("U16", [2], 12, 16)}, 16),
    "overlap": safetensors({"a": entry(), "b": entry(begin=4, end=12)}, 12),
    "overlap whole": safetensors({"a": entry(), "b": entry()}, 8),
    "empty within": safetensors({"a": entry(), "b": entry(shape=[0], begin=4, end=4)}, 8),
    "empty beyond": safetensors({"a": entry(), "b": entry(shape=[0], begin=12, end=12)}, 8),
    "bytes after": safetensors(PLAIN, 9),
    "bytes missing": safetensors(PLAIN, 7),
    "name twice": safetensors('{"a":%s,"a":%s}' % (TEXT, json.dumps(entry(begin=8, end=16))), 16),
    "name twice, escaped": safetensors('{"a":%s,"\\u0061":%s}' % (TEXT, json.dumps(entry(begin=8, end=16))), 16),
    "member twice": safetensors('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
    "metadata twice": safetensors('{"__metadata__":{"x":"1"},"__metadata__":{"x":"2"}}'),
    "metadata with a number": safetensors({"__metadata__": {"x": 1}}),
    "metadata with null": safetensors({"__metadata__": {"x": None}}),
    "metadata a list": safetensors({"__metadata__": []}),
    "NUL after": safetensors(json.dumps(PLAIN) + "\0\0", 8),
    "NUL before": safetensors("\0" + json.dumps(PLAIN), 8),
    "byte order mark": safetensors("\ufeff" + json.dumps(PLAIN), 8),
    "form feed after": safetensors(json.dumps(PLAIN) + "\f", 8),
    "text after": safetensors(json.dumps(PLAIN) + " x", 8),
    "comma after": safetensors('{"a":%s,}' % TEXT, 8),
    "comment": safetensors('{"a":%s /* x */}' % TEXT, 8),
    "not UTF-8": struct.pack("<Q", len(TEXT) + 6) + b'{"\xff":' + TEXT.encode() + b"}" + bytes(8),
    "half a surrogate": safetensors('{"\\ud800":%s}' % TEXT, 8),
    "raw control character": safetensors('{"a\x01":%s}' % TEXT, 8),
    "dtype unknown": safetensors({"a": entry("F8_E4M3FN", [8])}, 8),
    "dtype in small letters": safetensors({"a": entry("f32")}, 8),
    "dtype missing": safetensors({"a": {"shape": [2], "data_offsets": [0, 8]}}, 8),
    "shape missing": safetensors({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, 8),
    "offsets missing": safetensors({"a": {"dtype": "F32", "shape": [2]}}, 8),
    "shape null": safetensors({"a": {"dtype": "F32", "shape": None, "data_offsets": [0, 8]}}, 8),
    "shape negative": safetensors({"a": entry(shape=[-2])}, 8),
    "shape with a fraction": safetensors({"a": entry(shape=[2.0])}, 8),
    "shape with an exponent": safetensors('{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}', 8),
    "shape too small": safetensors({"a": entry(shape=[1])}, 8),
    "shape too large": safetensors({"a": entry(shape=[1 << 62, 8])}, 8),
    "shape too large, then 0": safetensors({"a": entry(shape=[1 << 40, 1 << 40, 0], end=0)}),
    "three offsets": safetensors({"a": {**entry(), "data_offsets": [0, 4, 8]}}, 8),
    "offsets backward": safetensors({"a": entry(begin=8, end=0)}, 8),
    "half a byte": safetensors({"a": entry("F4", [3], 0, 2)}, 2),
    "U16 too short": safetensors({"a": entry("U16", [4], 0, 7)}, 7),
    "entry null": safetensors({"a": None}),
    "entry a number": safetensors({"a": 3}),
    "header a list": safetensors("[]"),
    "header null": safetensors("null"),
    "header empty": safetensors(""),
    "header of spaces": safetensors("   "),
    "header short by one": safetensors(PLAIN, 8, len(json.dumps(PLAIN)) - 1),
    "header beyond the file": safetensors({}, 0, 3),
    "header over the limit": safetensors(PLAIN, 8, 100_000_001),
    "7 bytes": b"1234567",
    "no byte": b"",
    "HTML": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3438167540\n",
}
STRICTER = {
    "the same name twice": safetensors('{"a":%s,"a":%s}' % (TEXT, TEXT), 8),
    "unknown member twice": safetensors('{"a":{"dtype":"F32","more":1,"more":2,"shape":[2],"data_offsets":[0,8]}}', 8),
    "a name twice in the metadata": safetensors('{"__metadata__":{"x":"1","x":"2"}}'),
    "entry a list": safetensors({"a": ["F32", [2], [0, 8]]}, 8),
    "100 levels": safetensors(DEEP, 8),
    "empty, with strides beyond 64 bits": safetensors({"a": entry(shape=[0, 1 << 40, 1 << 40], end=0)}),
    "65 dimensions": safetensors({"a": entry("U8", [1] * 65, 0, 1)}, 1),
    "BOOL of 7": safetensors({"a": entry("BOOL", [1], 0, 1)}) + b"\7",
}


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="syncdr-parity-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class Safetensors(Folder):
    def test_what_python_writes_comes_back_through_us(self):
        torch.manual_seed(0)
        dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
        tensors = {str(dtype): (torch.randn(3, 5, 7) * 50).to(dtype) for dtype in dtypes}
        tensors["scalar"] = torch.tensor(1.5)
        tensors["empty"] = torch.zeros(3, 0)
        tensors["a name with \"quotes\" and \u00fc"] = torch.arange(5, dtype=torch.uint8)
        save_file(tensors, self.folder / "in.safetensors", metadata={"format": "pt"})
        run("parity_probe", "echo", "--in", self.folder / "in.safetensors", "--out", self.folder / "out.safetensors")
        back = load_file(self.folder / "out.safetensors")
        self.assertEqual(set(back), set(tensors))
        for name, tensor in tensors.items():
            self.assertEqual(back[name].dtype, tensor.dtype, name)
            self.assertTrue(torch.equal(back[name], tensor), name)
        with safe_open(self.folder / "out.safetensors", "np") as file:  # a second, lazy reader
            self.assertTrue(numpy.array_equal(file.get_tensor("torch.int32"), tensors["torch.int32"].numpy()))

    def test_odd_files_are_taken_and_refused_as_by_the_original(self):
        cases = {**TAKEN, **REFUSED, **STRICTER}
        self.assertEqual(len(cases), len(TAKEN) + len(REFUSED) + len(STRICTER), "a name is used twice")
        files = self.folder / "files"
        files.mkdir()
        for name, content in cases.items():
            (files / name).write_bytes(content)
        theirs = next_generation("originals_files", "read_safetensors", folder=files, result=self.folder / "theirs.safetensors")
        self.assertEqual({name for name, verdict in theirs.items() if verdict is False}, set(REFUSED))
        warnings = run("parity_probe", "read-each", "--model", files, "--out", self.folder / "ours.safetensors")
        ours, values = load_file(self.folder / "ours.safetensors"), load_file(self.folder / "theirs.safetensors")
        refused = {name for name in cases if name in ours}
        self.assertEqual(refused - set(REFUSED) - set(STRICTER), set(), "refused by us alone")
        self.assertEqual((set(REFUSED) | set(STRICTER)) - refused, set(), "taken by us alone")
        for name in refused:
            self.assertTrue(bytes(ours[name].tolist()).decode().startswith(str(files / name) + ": "), name)
        values = {name: tensor for name, tensor in values.items() if name.split("|")[0] in TAKEN}
        self.assertEqual({name for name in ours if "|" in name}, set(values))
        for name, tensor in values.items():
            self.assertEqual(ours[name].dtype, tensor.dtype, name)
            self.assertEqual(ours[name].shape, tensor.shape, name)
            self.assertTrue(torch.equal(ours[name].flatten(), tensor.flatten()), name)
        for name in TAKEN:
            for tensor, dtype in theirs[name].items():
                self.assertEqual(f'{files / name}: passes over "{tensor}" ({dtype})' in warnings, dtype in PASSED_OVER, f"{name}, {tensor}")


class Shard(Folder):
    def write_sources(self):
        def png(value):
            def chunk(kind, body):
                return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            rows = (b"\0" + bytes([value, 0, 255 - value]) * 8) * 8
            return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        for number in range(20):
            place = self.folder / "in" / "photo" / f"c{number % 4}" / f"\u00fc{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(png(number))

    def shards(self, *options):
        run("syncdr-data", "pack", self.folder / "in", "-o", self.folder / "out", "--rows", 3, *options)
        return [h5py.File(self.folder / "out" / entry["file"]) for entry in json.loads((self.folder / "out" / "dataset.json").read_text())["entries"]]

    def test_h5py_reads_a_packed_shard(self):
        self.write_sources()
        seen = {}
        for shard in self.shards():
            with shard:
                self.assertEqual(shard.attrs["format"], b"syncdr-shard")
                self.assertEqual(shard.attrs["version"], 1)
                self.assertEqual(json.loads(shard.attrs["provenance"]), {})
                offsets = shard["image/offset"][:]
                keys = [key.decode() for key in shard["key"][:]]
                self.assertEqual(len(offsets), len(keys) + 1)
                self.assertIsNone(shard["image/data"].chunks)
                for row, key in enumerate(keys):
                    data = shard["image/data"][offsets[row]:offsets[row + 1]].tobytes()
                    self.assertEqual(data, (self.folder / "in" / key).read_bytes(), "PNG in, PNG out: the very bytes")
                    self.assertEqual(shard["image/crc32c"][row], crc32c(data))
                    self.assertEqual(shard["label"][row], int(key.split("/")[1][1:]))
                    seen[key] = shard.attrs["split"]
        self.assertEqual(len(seen), 20)

    def test_raw_rows_are_the_pixels(self):
        self.write_sources()
        for shard in self.shards("--codec", "raw", "--size", 8):
            with shard:
                pixels = shard["image/data"][:].reshape(-1, shard.attrs["height"], shard.attrs["width"], 3)
                for row, key in enumerate(shard["key"][:]):
                    number = int(key.decode().split("\u00fc")[1].split(".")[0])
                    self.assertTrue((pixels[row] == [number, 0, 255 - number]).all())


def crc32c(data):
    """Castagnoli, bit by bit: slow and independent of ours."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


if __name__ == "__main__":
    unittest.main()
