"""syncdr-data convert: which tensors are chosen, what is refused, and how it is said. Files as torch.save lays them out, made without torch."""
import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import resource
import shutil
import struct
import sys
import tempfile
import types
import unittest
import zipfile

from support import expect, run

# Stand-ins under torch's names, so that the pickles name what torch's do.
torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})


def _rebuild_tensor_v2():
    raise AssertionError("nothing is built here")


_rebuild_tensor_v2.__module__ = "torch._utils"
utils._rebuild_tensor_v2 = _rebuild_tensor_v2


class Storage:
    def __init__(self, values):
        self.values = values


class Tensor:
    """A vector of floats."""

    def __init__(self, *values):
        self.storage, self.shape = Storage(values), (len(values),)

    def __reduce__(self):
        return _rebuild_tensor_v2, (self.storage, 0, self.shape, (1,) * len(self.shape), False, collections.OrderedDict())


class Number(Tensor):
    """A tensor without dimensions."""

    def __init__(self, value):
        super().__init__(value)
        self.shape = ()


def save(value, path, byteorder="little"):
    """The zip archive of torch.save."""
    storages = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            storages.append(item)
            return "storage", torch.FloatStorage, str(len(storages) - 1), "cuda:0", len(item.values)

    content = io.BytesIO()
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        Pickler(content, protocol=2).dump(value)
    finally:
        del sys.modules["torch"], sys.modules["torch._utils"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", content.getvalue())
        archive.writestr("w/byteorder", byteorder)
        for key, storage in enumerate(storages):
            archive.writestr(f"w/data/{key}", struct.pack(f"<{len(storage.values)}f", *storage.values))


def load(path):
    """A safetensors file: vectors by name, and the metadata."""
    raw = path.read_bytes()
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:end])
    metadata = header.pop("__metadata__")
    return {name: struct.unpack(f"<{entry['shape'][0]}f", raw[end:][slice(*entry["data_offsets"])]) for name, entry in header.items()}, metadata


WEIGHTS = collections.OrderedDict({"module.a": Tensor(1, 2), "module.b": Tensor(3)})
EXPECTED = {"module.a": (1, 2), "module.b": (3,)}


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-convert-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.source, self.out = self.folder / "w.pth", self.folder / "w.safetensors"

    def refused(self, process, code, *texts):
        expect(process, code, *texts)
        self.assertFalse(self.out.exists())


class Convert(Base):
    def convert(self, value, *arguments, **options):
        save(value, self.source, **options)
        return run("syncdr-data", "convert", self.source, "-o", self.out, *arguments)

    def test_the_only_dictionary_of_tensors_is_found_and_said(self):
        expect(self.convert(WEIGHTS), 0, "2 tensors of \".\", the only dictionary of tensors")
        self.assertEqual(load(self.out)[0], EXPECTED)
        lightning = {"epoch": 3, "state_dict": WEIGHTS, "best_acc1": Number(0.5), "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": Number(0.5), "best_k_models": {"a.ckpt": Number(0.5)}}},
                     "optimizer_states": [{"state": {0: {"exp_avg": Tensor(1)}}}], "hyper_parameters": {"lr": 0.1}}
        expect(self.convert(lightning), 0, "2 tensors of \"state_dict\"", "left out: epoch (an int), best_acc1 (a call of torch._utils._rebuild_tensor_v2)")
        self.assertEqual(load(self.out)[0], EXPECTED)

    def test_the_metadata_say_what_came_in_and_went_out(self):
        expect(self.convert({"state_dict": WEIGHTS}), 0, "xxh128")
        _, metadata = load(self.out)
        self.assertEqual(set(metadata), {"format", "syncdr.sources", "syncdr.key", "syncdr.tensors"})
        self.assertEqual((metadata["format"], metadata["syncdr.key"]), ("pt", "state_dict"))
        self.assertRegex(metadata["syncdr.sources"], r'^\{"w.pth":"xxh128:[0-9a-f]{32}"\}$')
        first = self.out.read_bytes()
        expect(run("syncdr-data", "convert", self.source, "-o", self.out), 0)
        self.assertEqual(self.out.read_bytes(), first)
        expect(self.convert({"model": WEIGHTS}), 0)
        self.assertEqual(load(self.out)[1]["syncdr.tensors"], metadata["syncdr.tensors"])

    def test_several_dictionaries_need_a_key(self):
        dino = {"student": WEIGHTS, "teacher": {"module.a": Tensor(7)}, "epoch": 1, "dino_loss": {"center": Tensor(0)}}
        self.refused(self.convert(dino), 2, "holds 3 dictionaries of tensors: dino_loss (1 tensors), student (2 tensors), teacher (1 tensors)", "--key")
        expect(self.convert(dino, "--key", "teacher"), 0, "left out: student (a call of collections.OrderedDict)")
        self.assertEqual(load(self.out)[0], {"module.a": (7,)})
        self.out.unlink()
        self.refused(self.convert(dino, "--key", "model"), 2, "has no \"model\". It holds: student, teacher, epoch, dino_loss")
        self.refused(self.convert(dino, "--key", "epoch"), 65, "\"epoch\" is no dictionary, but an int")

    def test_nested_dictionaries_are_joined_by_dots(self):
        nested = {"model": {"body": {"a.b": Tensor(1)}, "head": {"c": Tensor(2)}, "version": 3}}
        expect(self.convert(nested, "--key", "model"), 0, "left out: version (an int)")
        self.assertEqual(load(self.out)[0], {"body.a.b": (1,), "head.c": (2,)})
        expect(self.convert(nested, "--key", "model.body"), 0)
        self.assertEqual(load(self.out)[0], {"a.b": (1,)})
        expect(self.convert(nested, "--key", "."), 0)
        self.assertEqual(load(self.out)[0], {"model.body.a.b": (1,), "model.head.c": (2,)})
        self.out.unlink()
        self.refused(self.convert({"a": Tensor(1), "b": [Tensor(2)]}), 65, "\"b\" is a list and could hold tensors")
        self.refused(self.convert({"a.b": Tensor(1), "a": {"b": Tensor(2)}}, "--key", "."), 65, "\"a.b\" occurs twice")
        self.refused(self.convert({"x": {0: {"a": Tensor(1)}}}, "--key", "x"), 65, "has an int for a key")
        long = {"model_ema." + "a" * 200_000: Tensor(1), "x": {"y" * 600: {"z" * 600: Tensor(1)}}}
        self.refused(self.convert(long, "--key", "."), 65, 'aaa..." has 200010 bytes, at most 1000 are read')
        self.refused(self.convert(long, "--key", "x"), 65, "has 1201 bytes")

    def test_objects_beside_the_weights_are_named_and_need_a_word(self):
        value = {"state_dict": WEIGHTS, "args": argparse.Namespace(lr=1), "seen": [collections.Counter(), collections.Counter("a")]}
        self.refused(self.convert(value), 65, "argparse.Namespace, collections.Counter (2 times). Nothing of it was made. --allow-beside")
        expect(self.convert(value, "--allow-beside"), 0, "left out, and not made: argparse.Namespace, collections.Counter (2 times)")
        self.assertEqual(load(self.out)[0], EXPECTED)
        self.out.unlink()
        flat = {"a": Tensor(1), "args": argparse.Namespace(lr=1)}
        self.refused(self.convert(flat), 65, "argparse.Namespace. Nothing of it was made")
        expect(self.convert(flat, "--allow-beside"), 0, "left out: args (a call of argparse.Namespace)")

    def test_what_holds_no_tensors_is_refused(self):
        self.refused(self.convert({"epoch": 1}), 65, "holds no dictionary of tensors")
        self.refused(self.convert(argparse.Namespace(a=Tensor(1))), 65, "but a call of argparse.Namespace", "state_dict()")
        self.refused(self.convert(Tensor(1)), 65, "holds no dictionary of tensors")
        self.refused(self.convert([Tensor(1)]), 65, "but a list")
        shared = {}
        for _ in range(100):
            shared = {"a": shared, "b": shared}  # 2 ** 100 paths
        self.refused(self.convert({"x": shared}), 65, "holds no dictionary of tensors")
        self.refused(self.convert({"x": shared}, "--key", "x"), 65, "nested deeper than 64")
        circle = {"a": Tensor(1)}
        circle["b"] = circle
        self.refused(self.convert(circle, "--key", "."), 65, "nested deeper than 64")

    def test_prefixes_are_taken_off(self):
        expect(self.convert(WEIGHTS, "--strip", "module."), 0)
        names, metadata = load(self.out)
        self.assertEqual(set(names), {"a", "b"})
        self.assertEqual(metadata["syncdr.strip"], "module.")
        expect(run("syncdr-data", "convert", self.out, "-o", self.folder / "again.safetensors", "--strip", "a"), 0, "1 of 2 names begin with it")
        self.out.unlink()
        self.refused(self.convert(WEIGHTS, "--strip", "model."), 2, "no name begins with it; the first is \"module.a\"")
        self.refused(self.convert({"m.a": Tensor(1), "a": Tensor(2)}, "--strip", "m."), 65, "\"a\" would occur twice")

    def test_the_parts_of_an_index_become_one_file(self):
        index = self.folder / "pytorch_model.bin.index.json"
        parts = {"pytorch_model-00001-of-00002.bin": {"a": Tensor(1)}, "pytorch_model-00002-of-00002.bin": {"b": Tensor(2), "c": Tensor(3)}}
        for name, part in parts.items():
            save(part, self.folder / name)
        names = {tensor: name for name, part in parts.items() for tensor in part}

        def convert(weight_map):
            index.write_text(json.dumps({"metadata": {"total_size": 12}, "weight_map": weight_map}))
            return run("syncdr-data", "convert", index, "-o", self.out)

        self.refused(convert({**names, "d": "pytorch_model-00002-of-00002.bin"}), 65, "names 4 tensors, its files hold 3")
        self.refused(convert({"a": names["a"], "b": names["b"]}), 65, "names 1 of the 2 tensors in pytorch_model-00002-of-00002.bin")
        self.refused(convert({**names, "c": "pytorch_model-00003.bin"}), 65)
        self.refused(convert({**names, "c": "../x.bin"}), 65)
        expect(convert(names), 0)
        tensors, metadata = load(self.out)
        self.assertEqual(tensors, {"a": (1,), "b": (2,), "c": (3,)})
        self.assertEqual(set(json.loads(metadata["syncdr.sources"])), {index.name, *parts})

    def test_wrong_usage_has_code_2_and_wrong_files_65(self):
        self.refused(run("syncdr-data", "convert"), 2)
        self.refused(run("syncdr-data", "convert", self.source, "-o", self.folder / "x.bin"), 2, "must end in .safetensors")
        self.refused(run("syncdr-data", "convert", self.folder / "none.pth", "-o", self.out), 65, "none.pth: cannot be opened")
        self.source.write_bytes(b"")
        self.refused(run("syncdr-data", "convert", self.source, "-o", self.out), 65, "is empty")
        self.source.write_bytes(pickle.dumps({"a": 1}))
        self.refused(run("syncdr-data", "convert", self.source, "-o", self.out), 65, "is a pickle, but none of torch.save")
        self.refused(self.convert(WEIGHTS, byteorder="big"), 65, "big-endian")
        self.refused(self.convert({b"\xff".decode("latin1"): Tensor(1), "\ud800": Tensor(2)}), 65, "a tensor's name")
        self.convert(WEIGHTS)
        self.source.write_bytes(self.source.read_bytes()[:-30])
        self.out.unlink()
        self.refused(run("syncdr-data", "convert", self.source, "-o", self.out), 65, "was cut short")


class Call:
    """What a pickle would call when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Hostile(Base):
    """Each is refused with a message; nothing in it is called, and it takes neither time nor memory."""

    def archive(self, pickle_bytes, *storages):
        with zipfile.ZipFile(self.source, "w") as archive:
            archive.writestr("w/data.pkl", pickle_bytes)
            for key, content in enumerate(storages):
                archive.writestr(f"w/data/{key}", content)
        return self.run_convert()

    def run_convert(self):
        process = run("syncdr-data", "convert", self.source, "-o", self.out, timeout=60)
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 1 << 20, "more than 1 GiB of memory")
        return process

    # The opcodes of a float tensor: a storage of 4 elements in data/0, shape and strides as texts of opcodes.
    def tensor(self, shape=b"K\x04\x85", strides=b"K\x01\x85", key=b"0"):
        storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00" + key + b"X\x03\x00\x00\x00cpuK\x04tQ"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + strides + b"\x89ccollections\nOrderedDict\n)RtR"

    def weights(self, value):
        return b"\x80\x02}X\x01\x00\x00\x00w" + value + b"s."

    def test_the_plain_file_of_these_tests_is_read(self):
        expect(self.archive(self.weights(self.tensor()), struct.pack("<4f", 1, 2, 3, 4)), 0)
        self.assertEqual(load(self.out)[0], {"w": (1, 2, 3, 4)})

    def test_a_pickle_that_calls(self):
        mark = self.folder / "called"
        for value in ({"a": Tensor(1), "b": Call(os.system, f"touch {mark}")}, {"a": Tensor(1), Call(os.system, f"touch {mark}"): 1}, Call(os.mkdir, str(mark)),
                      {"a": Call(eval, f"open({str(mark)!r}, 'w')")}, [Tensor(1), {"b": [Call(exec, f"open({str(mark)!r}, 'w')")]}]):
            save(value, self.source)
            self.refused(self.run_convert(), 65)
            self.assertFalse(mark.exists())
        save({"a": Tensor(1), "b": Call(os.system, f"touch {mark}")}, self.source)
        self.refused(self.run_convert(), 65, "names what is neither a tensor nor a plain value: posix.system. Nothing of it was made")

    def test_nested_reductions(self):
        deep = 200_000
        parameter = b"ctorch.nn.parameter\nParameter\n"
        wrapped = self.weights(parameter * deep + self.tensor() + b"\x85R" * deep)  # Parameter(Parameter(...(tensor)))
        expect(self.archive(wrapped, struct.pack("<4f", 1, 2, 3, 4)), 0)
        self.assertEqual(load(self.out)[0], {"w": (1, 2, 3, 4)})
        self.out.unlink()
        self.refused(self.archive(self.weights(b"cposix\nsystem\n" * deep + b"K\x01" + b"\x85R" * deep)), 65, "holds no dictionary of tensors")
        called = b"ctorch._utils\n_rebuild_tensor_v2\n" * deep + self.tensor() + b"\x85R" * deep
        self.refused(self.archive(self.weights(called), b"\x00" * 16), 65, "\"w\"", "is not described as torch.save does it")
        dictionaries = b"}X\x01\x00\x00\x00w" * deep + self.tensor() + b"s" * deep
        self.refused(self.archive(b"\x80\x02" + dictionaries + b".", b"\x00" * 16), 65, "holds no dictionary of tensors")
        self.refused(self.archive(self.weights(b"(" * deep + b"t" * deep)), 65, "holds no dictionary of tensors")

    def test_huge_sizes(self):
        quarter = b"\x8a\x08" + struct.pack("<q", 1 << 62)  # an integer of 8 bytes
        data = b"\x00" * 16
        self.refused(self.archive(self.weights(self.tensor(quarter + b"K\x04\x86", b"K\x00K\x00\x86")), data), 65, "\"w\"", "too large")
        self.refused(self.archive(self.weights(self.tensor(b"J\x00\x00\x00\x7f\x85", b"K\x00\x85")), data), 65, "need 8522825728 bytes, the file has")
        self.refused(self.archive(self.weights(self.tensor(quarter + b"\x85", b"K\x01\x85")), data), 65, "too large")
        self.refused(self.archive(self.weights(b"r\xff\xff\xff\xff" + self.tensor())), 65)  # PUT at place 4294967295 of the memo
        self.refused(self.archive(self.weights(b"X\xff\xff\xff\x7f")), 65)                 # a text of 2 GiB
        header = b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}'
        self.source = self.folder / "w2.safetensors"
        for content in (struct.pack("<Q", len(header)) + header + data, struct.pack("<Q", 1 << 60) + header):
            self.source.write_bytes(content)
            self.refused(self.run_convert(), 65)

    def test_overlapping_storages(self):
        both = b"\x80\x02}(X\x01\x00\x00\x00a" + self.tensor() + b"X\x01\x00\x00\x00b" + self.tensor(key=b"1") + b"u."
        content = struct.pack("<4f", 1, 2, 3, 4)
        expect(self.archive(both, content, content), 0)
        self.out.unlink()
        raw = self.source.read_bytes()
        entries = [k for k in range(len(raw) - 4) if raw[k:k + 4] == b"PK\x01\x02"]
        place = slice(entries[1] + 42, entries[1] + 46), slice(entries[2] + 42, entries[2] + 46)  # where the headers of data/0 and data/1 stand
        moved = bytearray(raw)
        moved[place[1]] = raw[place[0]]
        self.source.write_bytes(moved)
        self.refused(self.run_convert(), 65, "the storages \"0\" and \"1\" overlap in the file")

    def test_shapes_that_do_not_fit(self):
        data = b"\x00" * 16
        for shape, strides, text in ((b"K\x05\x85", b"K\x01\x85", "needs 5 elements"), (b"K\x02K\x02\x86", b"K\x03K\x01\x86", "needs 5 elements"),
                                     (b"K\x04\x85", b")", "has 1 dimensions and 0 strides"), (b"J\xff\xff\xff\xff\x85", b"K\x01\x85", "whole numbers from 0")):
            self.refused(self.archive(self.weights(self.tensor(shape, strides)), data), 65, "\"w\"", text)
        self.refused(self.archive(self.weights(self.tensor()), data[:8]), 65, "states 4 and has 2")


if __name__ == "__main__":
    unittest.main()
