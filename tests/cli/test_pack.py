"""syncdr-data pack, inspect, verify: splits, lists, bad input, repeatability."""
import gzip
import hashlib
import io
import json
import math
import os
import pathlib
import shutil
import tarfile
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


def shards_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.h5")}


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

    def test_ranks_share_the_shards_and_finish_what_others_have_begun(self):
        source = self.pictures(categories=3, images=6)
        (source / "photo" / "category-00" / "0.png").write_bytes(b"bad")
        arguments = [source, "--rows", "4", "--no-disjoint"]
        expect(self.pack(*arguments, "--max-bad-share", "0.1"), 0, "35 images of 2 domains", "1 bad ones left out")
        whole = {**contents(self.out), "quarantine": (self.out / "quarantine.json").read_text()}

        def on_ranks(ranks, out, *more):
            return run("syncdr-data", "pack", *arguments, *more, "-o", out, ranks=ranks)

        def compare(out):
            self.assertEqual({**contents(out), "quarantine": (out / "quarantine.json").read_text()}, whole)
            self.assertEqual([path for path in out.rglob("*") if path.name.endswith((".tmp", ".bad.json")) or path.name == "packing.json"], [])

        for ranks in (2, 3):
            out = self.folder / str(ranks) / "data"
            expect(on_ranks(ranks, out, "--max-bad-share", "0.1"), 0, "35 images of 2 domains")
            compare(out)
        manifest = json.loads((self.out / "dataset.json").read_text())
        (self.out / "packing.json").write_text(json.dumps({**manifest, "kind": "unfinished dataset", "entries": []}))
        (self.out / "dataset.json").unlink()
        shards = sorted(self.out.rglob("*.h5"))
        shards[0].unlink()
        shards[1].write_bytes(shards[2].read_bytes())  # whole, but of other images
        expect(on_ranks(2, self.out, "--max-bad-share", "0.1"), 0, "is packed again")
        compare(self.out)
        expect(on_ranks(2, self.out, "--max-bad-share", "0.1"), 0, "is packed already")
        expect(on_ranks(2, self.folder / "none"), 65, "more than --max-bad-share 0.001 allows")
        self.assertEqual([item["key"] for item in json.loads((self.folder / "none" / "quarantine.json").read_text())], ["photo/category-00/0.png"])

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
        self.assertIn("is a GIF; JPEG, PNG, WebP and TIFF are read", listed["photo/category-01/1.png"])
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
        expect(self.lists(good + "photo/category-00/1.png\n", split="test"), 65, "list.txt:2", "has no label")
        expect(self.lists(good + "photo/category-00/1.png -1\n", split="val"), 65, "list.txt:2", "has no label")
        expect(self.lists(good + "photo/category-00/1.png -2\n"), 65, "list.txt:2", "\"-2\" is no label")
        expect(self.lists(good + "photo/category-00/1.png 99999999999\n"), 65, "list.txt:2", "no label")
        expect(self.lists(good + "photo/category-00/1.png 1x\n"), 65, "list.txt:2", "\"1x\" is no label")
        expect(self.lists(good + "\n" + good), 65, "list.txt:3", "already listed at", "list.txt:1")
        expect(self.lists(good + "photo/./category-00/0.png 0"), 65, "list.txt:2", "already listed at")
        expect(self.lists(good + "/etc/passwd 0\n"), 65, "list.txt:2", "absolute path outside", "--strip")
        expect(self.lists(good + f"{self.folder}/in/../list.txt 0\n"), 65, "list.txt:2", "absolute path outside")
        (self.folder / "list.txt").write_bytes("photo/category-00/0.png 0\n".encode("utf-16"))
        expect(self.pack("--list", f"photo:train={self.folder / 'list.txt'}", "--root", self.folder / "in"), 65, "UTF-16")
        expect(self.lists(good + "../list.txt 0\n"), 65, "list.txt:2", "leaves its folder")
        expect(self.lists(good + "photo/none.png 0\n"), 65, "list.txt:2", "is missing. Is --root right?")
        self.assertFalse(self.out.exists())

    def test_names_that_are_no_utf8_are_refused_before_the_first_image(self):
        source = self.pictures(categories=2, images=2)
        odd = bytes(source / "photo") + b"/caf\xe9"
        os.rename(source / "photo" / "category-00", odd)
        expect(self.pack(source), 65, "caf\\xe9", "is no UTF-8")
        os.rename(odd, source / "photo" / "caf\u00e9")
        os.rename(source / "sketch" / "category-00" / "0.png", bytes(source / "sketch" / "category-00") + b"/\xff.png")
        expect(self.pack(source), 65, "\\xff.png", "is no UTF-8")
        (self.folder / "list.txt").write_bytes(b"sketch/category-00/\xff.png 0\n")
        expect(self.pack("--list", f"sketch:train={self.folder / 'list.txt'}", "--root", source), 65, "list.txt:1", "is no UTF-8")
        self.assertFalse(self.out.exists())

    def test_folders_that_name_splits_keep_them(self):
        for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
            write_pictures(self.folder / split, categories=4, images=2)
            for domain in ("photo", "sketch"):
                shutil.move(self.folder / split / domain, self.folder / "in" / domain / folder)
        expect(self.pack(self.folder / "in"), 0, "the folders name the splits")
        self.assertEqual(rows(self.out), {(d, s): 8 for d in ("photo", "sketch") for s in ("train", "val", "test")})
        expect(self.pack(self.folder / "in", "--disjoint", out=self.folder / "halves"), 0)
        self.assertEqual(rows(self.folder / "halves")["photo", "train"], 4)
        shutil.move(self.folder / "in" / "photo" / "test" / "category-00" / "0.png", self.folder / "in" / "photo" / "test")
        expect(self.pack(self.folder / "in", out=self.folder / "x"), 65, "0.png", "has no category")
        shutil.rmtree(self.folder / "in" / "photo" / "test")
        os.rename(self.folder / "in" / "photo" / "valid", self.folder / "in" / "photo" / "bicycle")
        expect(self.pack(self.folder / "in", out=self.folder / "x"), 65, "photo holds categories", "sketch holds train, val or test")

    def test_a_category_may_be_called_train(self):
        source = self.pictures(categories=2, images=2)
        for domain in ("photo", "sketch"):
            os.rename(source / domain / "category-00", source / domain / "train")
        expect(self.pack(source, "--no-disjoint", "--val", "0", "--test", "0"), 0)
        self.assertEqual(rows(self.out), {("photo", "train"): 4, ("sketch", "train"): 4})

    def test_images_without_categories_train(self):
        source = self.pictures(categories=4, images=5)
        for path in sorted((source / "photo").rglob("*.png")):
            path.rename(source / "photo" / f"{path.parent.name}-{path.name}")
        expect(self.pack(source), 0, "20 images have no category", '"photo" has no val images', '"photo" has no test images')
        self.assertEqual(rows(self.out)["photo", "train"], 20)
        self.assertNotIn(("photo", "test"), rows(self.out))
        expect(run("syncdr-data", "verify", self.out), 0)

    def test_a_folder_that_stands_for_no_category_is_named_where_nothing_is_left(self):
        source = self.pictures(categories=4, images=5)
        (source / "photo" / "all").mkdir()
        for path in sorted((source / "photo").rglob("*.png")):
            path.rename(source / "photo" / "all" / f"{path.parent.name}-{path.name}")
        tries = [self.pack(source, "--seed", str(seed), out=self.folder / str(seed)) for seed in range(8)]
        self.assertEqual({0, 65}, {done.returncode for done in tries})  # the half that it falls into depends on the seed
        for done in tries:
            if done.returncode:
                expect(done, 65, 'domain "photo" has nothing to train on', "(all)", "--no-disjoint")

    def test_what_is_passed_over_is_said(self):
        source = self.pictures(categories=2, images=3)
        photo = source / "photo"
        (photo / "category-00" / "notes.txt").write_text("x")
        (photo / "category-00" / "picture.gif").write_bytes(b"GIF89a")
        (photo / "category-00" / ".DS_Store").write_bytes(b"x")
        (photo / "category-00" / "gone.png").symlink_to("nowhere.png")
        (photo / "category-00" / "loop").symlink_to(photo / "category-00")
        (self.folder / "more").mkdir()
        (self.folder / "more" / "linked.png").write_bytes(png(8, 8, lambda x, y: (x, y, 9)))
        (photo / "category-01" / "linked").symlink_to(self.folder / "more")
        (source / "readme.txt").write_text("x")
        (source / "empty").mkdir()
        done = self.pack(source, "--no-disjoint")
        expect(done, 0, "2 passed over, no pictures by their names", "1 passed over, hidden", "1 passed over, links that lead nowhere", "gone.png",
               "1 passed over, links to folders that are read already", "1 passed over, beside the domains' folders", "1 passed over, folders of domains without images")
        self.assertEqual(sum(rows(self.out).values()), 13)  # with the one in the linked folder

    def test_lists_of_elsewhere(self):
        source = self.pictures(categories=2, images=2)
        inside = f"{source}/photo/category-00/0.png 0\nphoto/category-00/1.png\n"
        (self.folder / "list.txt").write_bytes(b"\xef\xbb\xbf" + inside.encode())
        expect(self.pack("--list", f"photo:train={self.folder / 'list.txt'}", "--root", source), 0, "1 images have no category")
        self.assertEqual(rows(self.out), {("photo", "train"): 2})
        (self.folder / "list.txt").write_text("/research/data/photo/category-00/0.png 0\n/research/data/photo/category-01/0.png 1\n")
        arguments = ["--list", f"photo:test={self.folder / 'list.txt'}", "--root", source]
        expect(self.pack(*arguments, out=self.folder / "b"), 65, "--strip")
        expect(self.pack(*arguments, "--strip", "/research/data", out=self.folder / "b"), 0)
        self.assertEqual(rows(self.folder / "b"), {("photo", "test"): 2})

    def test_tables_name_domains_splits_and_categories(self):
        source = self.pictures(categories=2, images=3)
        lines = ["path;domain;split;category;author;prompt"]
        for split, image in (("train", 0), ("val", 1), ("test", 2)):
            lines += [f"{d}/category-{c:02}/{image}.png;{d};{split};thing {c};\"Smith; \"\"J\"\"\";a {d} of a thing" for d in ("photo", "sketch") for c in (0, 1)]
        (self.folder / "t.csv").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
        expect(self.pack("--table", self.folder / "t.csv", "--root", source), 0, "the tables name the splits")
        self.assertEqual(rows(self.out), {(d, s): 2 for d in ("photo", "sketch") for s in ("train", "val", "test")})
        prompts = (self.out / "prompts.tsv").read_text().splitlines()
        self.assertEqual(len(prompts), 12)
        self.assertIn("photo/category-00/0.png\ta photo of a thing", prompts)
        expect(run("syncdr-data", "verify", self.out), 0)
        tabs = "path\tdomain\tlabel\n" + "".join(f"{d}/category-{c:02}/{i}.png\t{d}\t{c + 3}\n" for d in ("photo", "sketch") for c in (0, 1) for i in range(3))
        (self.folder / "t.tsv").write_text(tabs)
        expect(self.pack("--table", self.folder / "t.tsv", "--root", source, "--val", "0", "--test", "0", out=self.folder / "b"), 0)
        self.assertEqual(rows(self.folder / "b"), {("photo", "train"): 3, ("sketch", "train"): 3})  # a half of the categories each

    def test_lines_of_tables_that_cannot_be_are_named(self):
        source = self.pictures(categories=2, images=2)
        good = "photo/category-00/0.png,photo,train,a\n"

        def table(text, head="path,domain,split,category\n"):
            (self.folder / "t.csv").write_text(head + text)
            return self.pack("--table", self.folder / "t.csv", "--root", source)

        expect(table("", head=""), 65, "is empty")
        expect(table(good, head="file,domain,split,category\n"), 65, "t.csv:1", 'no column is called "path"', "there are file, domain")
        expect(table(good, head="path,domain,path,category\n"), 65, "t.csv:1", "two columns")
        expect(table(good + "photo/category-00/1.png,photo,train\n"), 65, "t.csv:3", "has 3 fields, the first line 4")
        expect(table(good + "photo/category-00/1.png,photo,all,a\n"), 65, "t.csv:3", 'the split is "all"')
        expect(table(good + "photo/category-00/1.png,photo,test,\n"), 65, "t.csv:3", "has no category")
        expect(table(good + '"a\nb.png",photo,train,a\nphoto/none.png,photo,train,a\n'), 65, "t.csv:3", "is missing")
        expect(table(good + "\n\n" + good), 65, "t.csv:5", "already listed at", "t.csv:2")
        expect(table(good + "photo/category-00/1.png,a-to-b,train,a\n"), 65, "t.csv:3", "-to-")
        expect(table(good + '"photo/category-00/1.png,photo,train,a\n'), 65, "t.csv:3", "not closed")
        expect(table("photo/category-00/1.png,photo,train,x\n", head="path,domain,split,label\n"), 65, "t.csv:2", "is no label")
        self.assertFalse(self.out.exists())

    def shard(self, members, name="a.tar", format=tarfile.PAX_FORMAT):
        with tarfile.open(self.folder / name, "w", format=format) as archive:
            for path, content in members:
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return self.folder / name

    def samples(self, count, prefix=""):
        return [(f"{prefix}{i:04}.{extension}", content) for i in range(count)
                for extension, content in (("PNG", png(8, 8, lambda x, y: (x, y, i))), ("cls", f"{i % 3}\n".encode()), ("json", b"{}"), ("seg.png", b"x"))]

    def test_shards_of_webdataset(self):
        for number, (format, prefix) in enumerate(((tarfile.PAX_FORMAT, "\u00fc" * 60 + "/" + "a" * 90), (tarfile.GNU_FORMAT, "b" * 120 + "/"), (tarfile.USTAR_FORMAT, "./c/"))):
            shard, out = self.shard(self.samples(5, prefix), format=format), self.folder / str(number)
            expect(self.pack("--tar", f"photo:train={shard}", "--tar", f"sketch:test={shard}", out=out), 0)
            self.assertEqual(rows(out), {("photo", "train"): 5, ("sketch", "test"): 5})
            refused = run("syncdr-data", "verify", out)
            expect(refused, 65, "5 images are also in another split", "--allow-copies")
            self.assertNotIn("files are bad", refused.stderr)
            expect(run("syncdr-data", "verify", out, "--allow-copies", "--csv", self.folder / "v.csv"), 0, "all good")
            self.assertEqual((self.folder / "v.csv").read_text().count("copy in another split"), 5)
        self.assertIn("photo/train/c/0000.png", (self.folder / "v.csv").read_text())
        unlabelled = [(name, content) for name, content in self.samples(3) if not name.endswith("cls")]
        expect(self.pack("--tar", f"photo:train={self.shard(unlabelled)}"), 0, "3 images have no category")

    def test_shards_that_are_damaged_or_cut_between_members_are_named(self):
        content = self.shard(self.samples(4)).read_bytes()
        members = content.rstrip(b"\0")
        damaged = {"cut-member": content[:512 * 3], "cut-mark": content[:(len(members) + 511) // 512 * 512], "half-mark": content[:(len(members) + 511) // 512 * 512 + 512],
                   "flip": content[:1024 + 5] + b"x" + content[1024 + 6:], "short": content[:100]}
        for name, words in (("cut-member", "the archive ends"), ("cut-mark", "without its end mark"), ("half-mark", "half an end mark"), ("flip", "checksum is wrong"),
                            ("short", "no tar archive")):
            (self.folder / f"{name}.tar").write_bytes(damaged[name])
            expect(self.pack("--tar", f"photo:train={self.folder / name}.tar"), 65, f"{name}.tar", words)
        (self.folder / "z.tar").write_bytes(gzip.compress(content))
        expect(self.pack("--tar", f"photo:train={self.folder / 'z.tar'}"), 65, "is compressed (gzip)")
        for words, members in (("has no image", [("a.cls", b"1")]), ("two images, .jpg and .png", [("a.jpg", b"x"), ("a.png", b"x")]), ("two .png", [("a.png", b"x"), ("a.PNG", b"x")]),
                               ("has no label", [("a.png", b"x"), ("a.cls", b"1"), ("b.png", b"x")]), ("is no label", [("a.png", b"x"), ("a.cls", b"dog")]),
                               ("already listed", [("a.png", b"x"), ("b.png", b"x"), ("a.png", b"x")])):
            expect(self.pack("--tar", f"photo:train={self.shard(members)}"), 65, "a.tar", words)
        expect(self.pack("--tar", f"photo:test={self.shard([('a.png', b'x')])}"), 65, "only images that train may do without")
        self.assertFalse(self.out.exists())

    def test_what_looks_alike_is_listed_and_shared_categories_are_said(self):
        lists = []
        for split, noise in ("train", 0), ("test", 2):
            for i in range(3):
                (self.folder / f"{split}-{i}.png").write_bytes(png(64, 64, lambda x, y: (int(125 + noise + 120 * math.sin(x * (i + 1) / 9) * math.cos(y * (i + 2) / 11)),) * 3))
            (self.folder / f"{split}.txt").write_text("".join(f"{split}-{i}.png {i}\n" for i in range(3)))
            lists += ["--list", f"photo:{split}={self.folder / split}.txt"]
        expect(self.pack(*lists), 0)
        expect(run("syncdr-data", "verify", self.out, "--csv", self.folder / "v.csv", "--json", self.folder / "v.json"), 0, "3 pairs of images in two splits look alike")
        lines = (self.folder / "v.csv").read_text().splitlines()
        self.assertEqual(sorted(lines[1:]), sorted(f"looks alike in another split,photo,train,photo/train-{i}.png,test photo/test-{i}.png" for i in range(3)))
        self.assertEqual(json.loads((self.folder / "v.json").read_text())["offenders"], {"looks alike in another split": 3})

    def test_what_is_given_out_can_be_packed_again(self):
        source = self.pictures(categories=4, images=6)
        expect(self.pack(source, "--rows", "7"), 0)
        expect(run("syncdr-data", "export", self.out, "--as", "folders", "-o", self.folder / "files"), 0)
        expect(self.pack(self.folder / "files", "--rows", "7", out=self.folder / "again"), 0)
        self.assertEqual(shards_of(self.folder / "again"), shards_of(self.out), "also keys and labels")
        expect(self.pack(self.folder / "files", source, out=self.folder / "both"), 2, "pack them one by one")
        for file in (self.folder / "files" / "real").rglob("*.png"):
            domain, _, *rest = file.relative_to(self.folder / "files" / "real").parts
            self.assertEqual(file.read_bytes(), source.joinpath(domain, *rest).read_bytes())
        expect(run("syncdr-data", "export", self.out, "--as", "webdataset", "--rows", "4", "-o", self.folder / "tars"), 0)
        shards = sorted((self.folder / "tars").glob("photo-train-*.tar"))
        count = rows(self.out)["photo", "train"]
        self.assertEqual(len(shards), (count + 3) // 4)
        expect(self.pack(*(part for shard in shards for part in ("--tar", f"photo:train={shard}")), out=self.folder / "third"), 0)
        self.assertEqual(rows(self.folder / "third"), {("photo", "train"): count})
        with tarfile.open(shards[0]) as archive:
            first = json.load(archive.extractfile("000000000.json"))
            self.assertEqual(archive.extractfile("000000000.png").read(), source.joinpath(first["key"]).read_bytes())
        expect(run("syncdr-data", "export", self.out, "--as", "folders", "-o", self.folder / "files"), 2, "is not empty")
        expect(run("syncdr-data", "export", self.out, "--as", "folders", "--domain", "art", "-o", self.folder / "x"), 2, 'no domain "art"; it has photo, sketch')
        expect(run("syncdr-data", "export", self.out, "--as", "folders", "--run", "none", "-o", self.folder / "x"), 65, "none")

    def test_what_is_given_out_keeps_keys_and_numbers_of_categories_without_names(self):
        source, lists = self.pictures(categories=12, images=1), []
        for domain, split in ("photo", "train"), ("sketch", "test"):
            (self.folder / split).write_text("".join(f"{domain}/category-{number:02}/0.png {11 - number}\n" for number in range(12)))
            lists += ["--list", f"{domain}:{split}={self.folder / split}"]
        (source / "photo" / "category-00" / "0.png").rename(source / "photo" / "category-00" / "0.jpg")  # a PNG all the same
        (self.folder / "train").write_text((self.folder / "train").read_text().replace("00/0.png", "00/0.jpg"))
        expect(self.pack(*lists, "--root", source, "--codec", "png"), 0)
        files = self.folder / "files"
        expect(run("syncdr-data", "export", self.out, "--as", "folders", "-o", files), 0)
        self.assertTrue((files / "real/photo/train/category-00/0.jpg.png").exists())
        expect(self.pack(files, out=self.folder / "again"), 0)
        self.assertEqual(shards_of(self.folder / "again"), shards_of(self.out))
        table = (files / "pictures.csv").read_text()
        for old, new, words in (("photo/category-03/0.png,", "photo/category-04/0.png,", "the key"), (",photo,train,11,11,", ",photo,train,11,10,", "the number"),
                                (",photo,train,11,11,", ",photo,held,11,11,", "the split is")):
            self.assertIn(old, table)
            (files / "pictures.csv").write_text(table.replace(old, new))
            expect(self.pack(files, out=self.folder / "changed"), 65, "pictures.csv:", words)
        (files / "pictures.csv").write_text(table.replace(",photo,train,11,11,", ",photo,extra,11,11,"))
        expect(self.pack(files, out=self.folder / "changed"), 0)
        self.assertEqual(rows(self.folder / "changed"), {("photo", "extra"): 1, ("photo", "train"): 11, ("sketch", "test"): 12})

    def test_wrong_usage_has_code_2_and_missing_input_65(self):
        source = self.pictures(categories=2, images=2)
        expect(self.pack(), 2, "pack needs folders, or --list, or --table, or --tar: one of them")
        expect(self.pack(source, "--table", "x"), 2, "not several")
        expect(self.pack("--list", "photo=x"), 2, "DOMAIN:SPLIT=FILE")
        expect(self.pack("--list", "photo:all=x"), 2, "train, val or test")
        expect(self.pack("--list", f"photo:train={self.folder / 'none.txt'}"), 65, "none.txt")
        expect(self.pack(self.folder / "none"), 65, "none")
        expect(self.pack(source / "photo", out=self.folder / "x"), 0, "no image has a category", "not a domain's own folder")
        (source / "empty").mkdir()
        expect(self.pack(source / "empty"), 65, "no images as DOMAIN/CATEGORY/IMAGE")
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
