"""syncdr-data pack, inspect, verify: splits, lists, bad input, repeatability."""
import hashlib
import json
import pathlib
import shutil
import tempfile
import unittest

from support import expect, png, run, write_pictures


def rows(folder):
    """(domain, split) -> images, as inspect says."""
    expect(run("syncdr-data", "inspect", folder, "--json", folder / "inspect.json"), 0)
    parts = json.loads((folder / "inspect.json").read_text())["real"]
    return {(part["domain"], part["split"]): part["rows"] for part in parts}


def contents(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.h5")) + [folder / "dataset.json"]}


class Pack(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-pack-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "data"

    def pack(self, *arguments, out=None):
        return run("syncdr-data", "pack", *arguments, "-o", out or self.out)

    def pictures(self, **counts):
        write_pictures(self.folder / "in", **counts)
        return self.folder / "in"

    def lists(self, text, root="in", split="train"):
        (self.folder / "list.txt").write_text(text)
        return self.pack("--list", f"photo:{split}={self.folder / 'list.txt'}", "--root", self.folder / root)

    def test_two_domains_train_on_different_categories(self):
        expect(self.pack(self.pictures(), "--rows", "10"), 0)
        expect(run("syncdr-data", "verify", self.out, "--json", self.folder / "v.json"), 0, "all good")
        figures = json.loads((self.folder / "v.json").read_text())
        self.assertEqual(figures["problems"], [])
        parts = rows(self.out)
        self.assertEqual(sum(parts.values()), figures["rows"])
        self.assertEqual(set(parts), {(d, s) for d in ("photo", "sketch") for s in ("train", "val", "test")})
        self.assertLess(sum(parts.values()), 144)  # the other halves of the training images are left out
        self.assertTrue(all(count > 0 for count in parts.values()))
        train = {}
        for domain in ("photo", "sketch"):
            text = b"".join(path.read_bytes() for path in (self.out / "real" / domain).glob("train-*.h5"))
            train[domain] = {number for number in range(12) if f"{domain}/category-{number:02}/".encode() in text}
        self.assertEqual(train["photo"] & train["sketch"], set())
        self.assertEqual((len(train["photo"]), len(train["sketch"])), (6, 6))

    def test_without_disjoint_all_images_are_packed(self):
        expect(self.pack(self.pictures(), "--no-disjoint"), 0)
        self.assertEqual(sum(rows(self.out).values()), 144)

    def test_packing_twice_gives_the_same_bytes_and_again_does_nothing(self):
        source = self.pictures(categories=4, images=5)
        expect(self.pack(source, "--rows", "3"), 0)
        expect(self.pack(source, "--rows", "3", out=self.folder / "b" / "data"), 0)
        self.assertEqual(contents(self.out), contents(self.folder / "b" / "data"))
        before = contents(self.out)
        expect(self.pack(source, "--rows", "3"), 0, "packed already")
        self.assertEqual(contents(self.out), before)

    def test_a_folder_of_something_else_is_not_written_over(self):
        source = self.pictures(categories=3, images=3)
        expect(self.pack(source), 0)
        expect(self.pack(source, "--rows", "2"), 2, "was made with rows = 4096, now it is 2")
        (source / "photo" / "category-00" / "0.png").unlink()
        expect(self.pack(source), 2, "other images")
        self.folder.joinpath("mine").mkdir()
        self.folder.joinpath("mine", "thesis.tex").write_text("x")
        expect(self.pack(source, out=self.folder / "mine"), 2, "is not empty")
        self.assertEqual([path.name for path in self.folder.joinpath("mine").iterdir()], ["thesis.tex"])

    def test_an_interrupted_packing_is_finished_by_the_next(self):
        source = self.pictures(categories=3, images=4)
        expect(self.pack(source, "--rows", "2", out=self.folder / "whole" / "data"), 0)
        shutil.copytree(self.folder / "whole" / "data", self.out)
        manifest = json.loads((self.out / "dataset.json").read_text())
        (self.out / "packing.json").write_text(json.dumps({**manifest, "kind": "unfinished dataset", "entries": []}))
        (self.out / "dataset.json").unlink()
        shard = sorted(self.out.rglob("train-*.h5"))[0]
        shard.with_suffix(".h5.tmp").write_bytes(shard.read_bytes()[:100])
        shard.write_bytes(b"half")
        expect(run("syncdr-data", "verify", self.out), 65, "dataset.json")
        expect(self.pack(source, "--rows", "2"), 0)
        self.assertEqual(contents(self.out), contents(self.folder / "whole" / "data"))
        self.assertEqual(list(self.out.rglob("*.tmp")) + list(self.out.glob("packing.json")), [])

    def test_sizes_and_codecs(self):
        source = self.pictures(categories=2, images=4, size=40)
        for codec in ("png", "jpeg", "raw"):
            out = self.folder / codec
            expect(self.pack(source, "--size", "24", "--codec", codec, out=out), 0)
            expect(run("syncdr-data", "verify", out), 0)
            expect(run("syncdr-data", "inspect", out), 0, "24x24", codec)
            expect(run("syncdr-data", "inspect", next(out.rglob("*.h5"))), 0, f'"codec": "{codec}"')
        expect(self.pack(source, "--codec", "raw", out=self.folder / "x"), 2, "--codec raw needs --size")

    def test_bad_images_are_listed_with_their_reasons(self):
        source = self.pictures(categories=4, images=10)
        bad = {"photo/category-00/0.png": b"", "photo/category-01/1.png": b"GIF89a" + bytes(50), "sketch/category-02/2.png": png(8, 8, lambda x, y: (x, y, 0))[:70]}
        for name, content in bad.items():
            (source / name).write_bytes(content)
        expect(self.pack(source, "--no-disjoint"), 65, "max-bad-share")
        self.assertFalse((self.out / "dataset.json").exists())
        expect(self.pack(source, "--no-disjoint", "--max-bad-share", "0.05"), 0, "3 bad ones left out")
        listed = {item["key"]: item["reason"] for item in json.loads((self.out / "quarantine.json").read_text())}
        self.assertEqual(set(listed), set(bad))
        self.assertIn("empty", listed["photo/category-00/0.png"])
        self.assertIn("neither JPEG nor PNG", listed["photo/category-01/1.png"])
        self.assertEqual(sum(rows(self.out).values()), 77)
        expect(run("syncdr-data", "verify", self.out), 0)

    def test_lists_keep_their_labels_and_splits(self):
        source = self.pictures(categories=3, images=2)
        (source / "photo" / "category-00" / "0.png").rename(source / "photo" / "category-00" / "with space.png")
        (self.folder / "a.txt").write_text("photo/category-00/with space.png 7\r\n\nphoto/category-01/0.png 8\n")
        (self.folder / "b.txt").write_text("category-00/0.png 1")
        (source / "sketch" / "b.txt").write_text("category-00/0.png 1")
        expect(self.pack("--list", f"photo:train={self.folder / 'a.txt'}", "--root", source), 0)
        self.assertEqual(rows(self.out), {("photo", "train"): 2})
        expect(self.pack("--list", f"sketch:test={source / 'sketch' / 'b.txt'}", out=self.folder / "c"), 0)
        self.assertEqual(rows(self.folder / "c"), {("sketch", "test"): 1})

    def test_lines_of_lists_that_cannot_be_are_named(self):
        self.pictures(categories=2, images=2)
        good = "photo/category-00/0.png 0\n"
        expect(self.lists(good + "photo/category-00/1.png\n"), 65, "list.txt:2", "no label")
        expect(self.lists(good + "photo/category-00/1.png -1\n"), 65, "list.txt:2", "\"-1\" is no label")
        expect(self.lists(good + "photo/category-00/1.png 99999999999\n"), 65, "list.txt:2", "no label")
        expect(self.lists(good + "photo/category-00/1.png 1x\n"), 65, "list.txt:2", "\"1x\" is no label")
        expect(self.lists(good + "\n" + good), 65, "list.txt:3", "already listed at", "list.txt:1")
        expect(self.lists(good + "photo/./category-00/0.png 0"), 65, "list.txt:2", "already listed at")
        expect(self.lists(good + "/etc/passwd 0\n"), 65, "list.txt:2", "absolute path")
        expect(self.lists(good + "../list.txt 0\n"), 65, "list.txt:2", "leaves its folder")
        expect(self.lists(good + "photo/none.png 0\n"), 65, "list.txt:2", "is missing. Is --root right?")
        self.assertFalse(self.out.exists())

    def test_wrong_usage_has_code_2_and_missing_input_65(self):
        source = self.pictures(categories=2, images=2)
        expect(self.pack(), 2, "either folders or --list")
        expect(self.pack("--list", "photo=x"), 2, "DOMAIN:SPLIT=FILE")
        expect(self.pack("--list", "photo:all=x"), 2, "train, val or test")
        expect(self.pack("--list", f"photo:train={self.folder / 'none.txt'}"), 65, "none.txt")
        expect(self.pack(self.folder / "none"), 65, "none")
        expect(self.pack(source / "photo"), 65, "no images as DOMAIN/CATEGORY/IMAGE")
        expect(self.pack(source, "--codec", "webp"), 2)
        expect(self.pack(source, "--val", "0.6", "--test", "0.5"), 2, "no images to train on")
        expect(self.pack(source, "--disjoint", "--no-disjoint"), 2)
        shutil.copytree(source / "photo", source / "third")
        expect(self.pack(source, "--disjoint"), 2, "for two domains; here are 3")

    def test_every_kind_of_damage_is_named_by_verify(self):
        expect(self.pack(self.pictures(categories=3, images=4), "--rows", "4"), 0)
        shards = sorted(self.out.rglob("*.h5"))
        content = bytearray(shards[1].read_bytes())
        content[len(content) // 2] ^= 1
        shards[1].write_bytes(content)
        shards[-1].unlink()
        expect(run("syncdr-data", "verify", self.out, "--json", self.folder / "v.json"), 65, "2 of")
        problems = json.loads((self.folder / "v.json").read_text())["problems"]
        self.assertEqual(sorted(shard.name in " ".join(problems) for shard in (shards[1], shards[-1])), [True, True])
        expect(run("syncdr-data", "inspect", self.out), 65, shards[-1].name)

    def test_a_hostile_manifest_does_not_leave_its_folder(self):
        expect(self.pack(self.pictures(categories=2, images=3)), 0)
        text = (self.out / "dataset.json").read_text()
        (self.out / "dataset.json").write_text(text.replace("real/photo", "../photo"))
        expect(run("syncdr-data", "verify", self.out), 65, "leaves its folder")
        (self.out / "dataset.json").write_text(text[:-30])
        expect(run("syncdr-data", "verify", self.out), 65, "no valid JSON")


if __name__ == "__main__":
    unittest.main()
