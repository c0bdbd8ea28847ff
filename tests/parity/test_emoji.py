"""The emoji dataset as h5py and Pillow see it: two disjoint halves, upright pictures of the same emoji in both domains, equal bytes every time."""
import io
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import h5py
import numpy as np
from PIL import Image

DATA = os.path.join(os.environ["SYNCDR_BIN"], "syncdr-data")
ROOT = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-emoji-"))


def emoji(name, *options):
    return subprocess.run([DATA, "emoji", "-o", ROOT / name, "--size", "32", *options], capture_output=True, text=True)


def make(name, *options):
    done = emoji(name, *options)
    assert done.returncode == 0, done.stderr
    return ROOT / name


def strings(values):
    return [value.decode().rstrip("\0") for value in values]


def read(files):
    """Keys, labels and pictures of a list of shards."""
    keys, labels, pictures = [], [], []
    for file in files:
        with h5py.File(file) as shard:
            data, offset = shard["image/data"][:].tobytes(), shard["image/offset"][:]
            keys += strings(shard["key"][:])
            labels += shard["label"][:].tolist()
            pictures += [np.asarray(Image.open(io.BytesIO(data[offset[i]:offset[i + 1]]))) for i in range(len(offset) - 1)]
    return keys, labels, np.stack(pictures)


def split(folder, domain, name):
    return read(sorted((folder / "real" / domain).glob(f"{name}-*.h5")))


def darkness(pictures):
    """Each picture's ink on a 16 x 16 grid, less what all pictures have in common, of unit length."""
    grey = 255.0 - pictures.astype(np.float64).mean(3).reshape(len(pictures), 16, 2, 16, 2).mean((2, 4)).reshape(len(pictures), -1)
    grey -= grey.mean(1, keepdims=True)
    grey -= grey.mean(0, keepdims=True)
    return grey / np.linalg.norm(grey, axis=1, keepdims=True)


def relative_files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_halves(folder):
    manifest = json.loads((folder / "dataset.json").read_text())
    assert manifest["domains"] == ["colour", "ink"], manifest["domains"]
    categories = {}
    for domain in ("colour", "ink"):
        for name, renders in (("train", 1), ("val", 1), ("test", 2)):
            keys, labels, pictures = split(folder, domain, name)
            assert pictures.shape[1:] == (32, 32, 3) and pictures.dtype == np.uint8, pictures.shape
            assert len(set(keys)) == len(keys) and all(key.startswith(domain + "/") and f"/{name}-" in key for key in keys)
            codes = [key.split("/")[1] for key in keys]
            assert len(keys) == renders * len(set(codes)), (domain, name, len(keys))
            categories[domain, name] = dict(zip(codes, labels))
            assert len(set(zip(codes, labels))) == len(set(codes)), "a code point has one label"
    everything = categories["colour", "test"]
    assert 1000 < len(everything) < 1300 and sorted(everything.values()) == list(range(len(everything)))
    assert [everything[code] for code in sorted(everything, key=lambda code: int(code, 16))] == list(range(len(everything)))
    for domain, name in categories:
        if name != "train":
            assert categories[domain, name] == everything, "validation and test hold every emoji in both domains, under one label"
    colour, ink = categories["colour", "train"], categories["ink", "train"]
    assert not set(colour) & set(ink) and {**colour, **ink} == everything, "each emoji trains in exactly one domain"
    assert abs(len(colour) - len(ink)) <= 1


def test_pictures(folder):
    """Emoji of two fonts differ, but far less than two emoji do; upside down or mixed-up pictures would not."""
    codes = {}
    for domain in ("colour", "ink"):
        keys, labels, pictures = split(folder, domain, "val")
        codes[domain] = darkness(pictures)
        corners = pictures[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1, 3)
        assert np.mean(corners >= 210) > 0.97, "backgrounds are bright"
        share = (pictures.min(3) < 170).mean((1, 2))
        assert 0.1 < np.median(share) < 0.7 and (share > 0.01).mean() > 0.97, "glyphs fill a part of the frame"
    same = (codes["colour"] * codes["ink"]).sum(1).mean()
    flipped = (codes["colour"] * codes["ink"].reshape(-1, 16, 16)[:, ::-1].reshape(len(codes["ink"]), -1)).sum(1).mean()
    others = (codes["colour"] * np.roll(codes["ink"], 7, 0)).sum(1).mean()
    print(f"correlation of a colour picture with its ink drawing {same:.3f}, turned over {flipped:.3f}, with another's {others:.3f}")
    assert same > others + 0.08 and same > flipped + 0.04

    ink = split(folder, "ink", "train")[2].astype(int)
    grey = (ink > 60) & (ink < 190)
    assert 0.005 < grey.mean() < 0.2, "edges are anti-aliased"
    assert np.median(np.ptp(split(folder, "colour", "train")[2].astype(int), axis=3).max((1, 2))) > 120, "colours are colours"


def test_renders_differ(folder):
    seen = set()
    for name in ("train", "val", "test"):
        pictures = split(folder, "ink", name)[2]
        fresh = {picture.tobytes() for picture in pictures}
        assert len(fresh) == len(pictures) and not fresh & seen, "a render of one split is in another"
        seen |= fresh


def test_true_counterparts(folder):
    for source, target in (("colour", "ink"), ("ink", "colour")):
        run = folder / "synthetic" / f"{source}-to-{target}" / "true"
        manifest = json.loads((run / "translation.json").read_text())
        assert manifest["kind"] == "translation", manifest
        keys, _, pictures = split(folder, source, "train")
        made = read(sorted(run.glob("unit-*.h5")))
        assert made[0] == keys, "row by row the same pictures, under the source's keys"
        with h5py.File(run / "unit-00000.h5") as unit:
            assert strings(unit["source/key"][:]) == keys[:len(unit["source/key"])]
            assert unit["source/row"][:].tolist() == list(range(len(unit["source/row"])))
        same = (darkness(pictures) * darkness(made[2])).sum(1).mean()
        others = (darkness(pictures) * np.roll(darkness(made[2]), 5, 0)).sum(1).mean()
        assert same > others + 0.08, (same, others)
        fresh = {picture.tobytes() for picture in made[2]}
        for name in ("val", "test"):
            assert not fresh & {picture.tobytes() for picture in split(folder, target, name)[2]}, "counterparts are renders of their own"


def test_repeats(folder):
    before = relative_files(folder)
    done = emoji("first")
    assert done.returncode == 0 and "nothing to do" in done.stderr, done.stderr
    assert relative_files(folder) == before
    assert relative_files(make("second")) == before, "equal settings give equal bytes"
    other = make("third", "--seed", "1")
    assert split(other, "ink", "train")[0] != split(folder, "ink", "train")[0], "another seed, other halves"


def test_refusals(folder):
    done = emoji("first", "--seed", "1")
    assert done.returncode == 2 and 'was made with seed = 0, now it is 1' in done.stderr, done.stderr
    (ROOT / "full").mkdir()
    (ROOT / "full" / "thesis.txt").write_text("mine")
    done = emoji("full")
    assert done.returncode == 2 and "thesis.txt" in done.stderr, done.stderr
    done = emoji("nofont", "--ink-font", str(ROOT / "none.ttf"))
    assert done.returncode == 65 and "none.ttf" in done.stderr, done.stderr
    done = emoji("noimages", "--colour-font", str(ROOT / "full" / "thesis.txt"))
    assert done.returncode == 65 and "cannot read this font" in done.stderr, done.stderr
    assert not (ROOT / "nofont").exists() and not (ROOT / "noimages").exists()
    # A damaged shard is not passed over by "nothing to do".
    shard = next((ROOT / "second" / "real" / "ink").glob("val-*.h5"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = emoji("second")
    assert done.returncode == 65 and shard.name in done.stderr, done.stderr


def test_interrupted(folder):
    """Without dataset.json the folder is unfinished and is made again."""
    expected = relative_files(folder)
    broken = ROOT / "third"
    shutil.rmtree(broken)
    shutil.copytree(folder, broken)
    (broken / "dataset.json").unlink()
    shutil.rmtree(broken / "synthetic" / "ink-to-colour")
    assert relative_files(make("third")) == expected


def test_extra(folder):
    """Glyphs of one font alone: no emoji of the set, in either domain, and the rest of the dataset is the same."""
    with_extra = make("extra", "--extra", "40")
    plain = relative_files(folder)
    more = {name: content for name, content in relative_files(with_extra).items() if name.parts[0] == "real"}
    assert {name: content for name, content in more.items() if "extra-" not in name.name} == {name: content for name, content in plain.items() if name.parts[0] == "real"}
    code_points = {key.split("/")[1] for domain in ("colour", "ink") for key in split(folder, domain, "val")[0]}
    for domain in ("colour", "ink"):
        keys, labels, pictures = split(with_extra, domain, "extra")
        assert len(keys) == len(set(keys)) == len({picture.tobytes() for picture in pictures}) == 40
        assert not code_points & {key.split("/")[1] for key in keys} and set(labels) == {-1}


if __name__ == "__main__":
    try:
        first = make("first")
        for test in (test_halves, test_pictures, test_renders_differ, test_true_counterparts, test_repeats, test_refusals, test_interrupted, test_extra):
            test(first)
            print(f"ok   {test.__name__}", flush=True)
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)
