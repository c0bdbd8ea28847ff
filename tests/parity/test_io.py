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

BIN = pathlib.Path(os.environ["SYNCDR_BIN"])


def run(*command):
    process = subprocess.run([str(BIN / command[0]), *map(str, command[1:])], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, f"{command}: {process.returncode}\n{process.stdout}{process.stderr}"


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
