"""Odd pictures, folders, lists, tables and archives, as people bring them, each with what must come of it. Pictures are made by Pillow, so the Python of the parity tests runs
this."""
import io
import json
import os
import pathlib
import shutil
import struct
import tarfile
import tempfile
import unittest
import zlib

from PIL import Image

from support import expect, run

ORIENTATION = 0x0112


def picture(mode="RGB", size=(40, 24)):
    return Image.linear_gradient("L").resize(size).convert("RGB").convert(mode)


def saved(format, mode="RGB", size=(40, 24), image=None, **options):
    buffer = io.BytesIO()
    (image or picture(mode, size)).save(buffer, format, **options)
    return buffer.getvalue()


def frames(format, mode="RGB"):
    return saved(format, image=picture(mode), save_all=True, append_images=[picture(mode).rotate(180)])


def exif(orientation):
    values = Image.Exif()
    values[ORIENTATION] = orientation
    return values


def png_header(width, height, bits=8, colour=2):
    """A PNG that claims a size, with next to nothing behind."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def sized_jpeg(width, height):
    """A JPEG whose header claims another size."""
    content = bytearray(saved("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at:at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


JPEG, PNG, WEBP, TIFF = saved("JPEG"), saved("PNG"), saved("WEBP"), saved("TIFF")
FLIPPED = PNG[:-20] + bytes([PNG[-20] ^ 1]) + PNG[-19:]

# What is packed, and what is listed as broken, with a word of the reason.
PICTURES = {
    "rgb.jpg": (JPEG, None), "upper.JPG": (JPEG, None), "long.JPEG": (JPEG, None), "other.jpe": (JPEG, None), "saved-by-browsers.jfif": (JPEG, None),
    "grey.jpg": (saved("JPEG", "L"), None), "inks.jpg": (saved("JPEG", "CMYK"), None), "progressive.jpg": (saved("JPEG", progressive=True), None),
    "two-views.jpg": (frames("MPO"), None),
    "on-its-side.jpg": (saved("JPEG", exif=exif(6)), None), "orientation-42.jpg": (saved("JPEG", exif=exif(42)), None),
    "exif-of-junk.jpg": (JPEG[:2] + b"\xff\xe1\x00\x10Exif\0\0MM\0*\xff\xff\xff\xff" + JPEG[2:], None),
    "bytes-behind-the-end.jpg": (JPEG + bytes(1000), None), "one-pixel.jpg": (saved("JPEG", size=(1, 1)), None), "line.jpg": (saved("JPEG", size=(3000, 1)), None),
    "a jpeg.png": (JPEG, None), "a png.jpg": (PNG, None), "a webp.jpg": (WEBP, None),
    "rgb.png": (PNG, None), "grey.png": (saved("PNG", "L"), None), "grey-alpha.png": (saved("PNG", "LA"), None), "alpha.png": (saved("PNG", "RGBA"), None),
    "palette.png": (saved("PNG", "P"), None), "palette-alpha.png": (saved("PNG", "P", transparency=3), None), "bit.png": (saved("PNG", "1"), None),
    "sixteen.png": (saved("PNG", image=Image.new("I;16", (9, 9), 40000)), None), "moving.png": (frames("PNG"), None),
    "one-pixel.png": (saved("PNG", size=(1, 1)), None),
    "rgb.webp": (WEBP, None), "alpha.webp": (saved("WEBP", "RGBA"), None), "lossless.webp": (saved("WEBP", lossless=True), None),
    "rgb.tif": (TIFF, None), "pages.tiff": (frames("TIFF"), None),
    "sixteen.tif": (saved("TIFF", image=Image.new("I;16", (9, 9), 40000)), None), "inks.tif": (saved("TIFF", "CMYK"), None),
    "caf\u00e9 na\u00efve.jpg": (JPEG, None), "cafe\u0301.jpg": (JPEG, None), "#%?&'\".jpg": (JPEG, None), "-o.jpg": (JPEG, None), "dots.in.its.name.jpg": (JPEG, None),
    "empty.jpg": (b"", "empty"), "empty.webp": (b"", "empty"), "zeros.jpg": (bytes(1000), "neither"), "text.jpg": (b"not a picture, but what a server answered", "neither"),
    "page.jpg": (b"<html><body>404</body></html>", "a text (SVG, HTML)"), "pointer.png": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "a gif.png": (saved("GIF", "P"), "a GIF"), "moving-gif.jpg": (frames("GIF"), "a GIF"),
    "a bmp.png": (saved("BMP"), "a BMP"), "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(100), "HEIF"), "avif.jpg": (b"\0\0\0\x18ftypavif" + bytes(100), "AVIF"),
    "moving.webp": (frames("WEBP"), "animation"),
    "half.jpg": (JPEG[:len(JPEG) // 2], "broken"), "header-alone.jpg": (JPEG[:30], "no image"), "half.png": (PNG[:len(PNG) // 2], "PNG"), "flipped.png": (FLIPPED, "PNG"),
    "half.webp": (WEBP[:len(WEBP) // 2], "WebP"), "half.tif": (TIFF[:len(TIFF) // 2], "TIFF"),
    "bomb.png": (png_header(60000, 60000), "60000x60000"), "bomb-of-bits.png": (png_header(2**31 - 1, 2**31 - 1, 1, 0), "pixels"), "bomb.jpg": (sized_jpeg(65500, 65500), "65500x65500"),
    "no-height.jpg": (sized_jpeg(40, 0), "broken"), "no-width.png": (png_header(0, 5), "PNG"),
}
# Not even opened.
PASSED_OVER = {"notes.txt": "no pictures by their names", "drawing.svg": "no pictures by their names", "moving.gif": "no pictures by their names", "._rgb.jpg": "hidden"}


class OddInputs(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-odd-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.count = 0

    def pack(self, *arguments):
        self.count += 1
        self.out = self.folder / f"out-{self.count}"
        return run("syncdr-data", "pack", *arguments, "-o", self.out)

    def write(self, name, content):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def rows(self):
        return {key: sum(entry["rows"] for entry in json.loads((self.out / "dataset.json").read_text())["entries"] if f"/{key}-" in entry["file"])
                for key in ("train", "val", "test")}

    def test_pictures(self):
        for name, (content, reason) in PICTURES.items():
            self.write(f"in/photo/thing/{name}", content)
        for name in PASSED_OVER:
            self.write(f"in/photo/thing/{name}", JPEG)
        thing = self.folder / "in/photo/thing"
        self.write("elsewhere/linked.jpg", JPEG)
        (thing / "folder.jpg").mkdir()
        (thing / "folder.jpg" / "inside.jpg").write_bytes(saved("JPEG", size=(33, 20)))
        (thing / "link out.jpg").symlink_to(self.folder / "elsewhere" / "linked.jpg")
        (thing / "gone.jpg").symlink_to("nowhere.jpg")
        (thing / "round").symlink_to(thing)
        os.mkfifo(thing / "pipe.jpg")
        done = self.pack(self.folder / "in", "--max-bad-share", "1", "--codec", "png")
        expect(done, 0, "links that lead nowhere: " + str(thing / "gone.jpg"), "neither files nor folders: " + str(thing / "pipe.jpg"),
               "links to folders that are read already: " + str(thing / "round"))
        for name, why in PASSED_OVER.items():
            expect(done, 0, why, name)
        bad = {item["key"].split("/", 2)[2]: item["reason"] for item in json.loads((self.out / "quarantine.json").read_text())}
        self.assertEqual(set(bad), {name for name, (_, reason) in PICTURES.items() if reason})
        for name, reason in bad.items():
            self.assertIn(PICTURES[name][1], reason, name)
        packed = b"".join(file.read_bytes() for file in self.out.rglob("*.h5"))
        good = [name for name, (_, reason) in PICTURES.items() if not reason] + ["folder.jpg/inside.jpg", "link out.jpg"]
        for name in good:
            self.assertIn(f"photo/thing/{name}".encode(), packed, name)
        self.assertEqual(sum(self.rows().values()), len(good))
        expect(run("syncdr-data", "verify", self.out, "--allow-copies"), 0, "all good")

    def test_folders(self):
        one = saved("PNG", size=(8, 8))
        pairs = [f"{domain}/thing/{i}.png" for domain in ("photo", "sketch") for i in range(4)]
        cases = {
            "one image": (["photo/thing/a.png"], 0, "has no test images"),
            "one category": (pairs, 65, "belong to the half that the other domain trains on"),
            "nothing in a domain and in a category": (["photo/thing/a.png", "photo/none/", "sketch/"], 0, "folders of domains without images"),
            "a split beside a category": (["photo/train/thing/a.png", "photo/dog/b.png"], 0, "2 images of 1 domains"),
            "no good image": (["photo/thing/bad.png"], 65, "no image could be read"),
        }
        for name, (files, code, words) in cases.items():
            for number, file in enumerate(files):
                if file.endswith("/"):
                    (self.folder / name / file).mkdir(parents=True)
                else:
                    self.write(f"{name}/{file}", b"" if "bad" in file else saved("PNG", size=(8 + number, 8)))
            with self.subTest(name):
                expect(self.pack(self.folder / name, "--val", "0", "--test", "0", "--max-bad-share", "1"), code, words)
                self.assertEqual((self.out / "dataset.json").exists(), code == 0)

    def test_lists(self):
        for i in range(4):
            self.write(f"in/photo/a b/{i}.jpg", saved("JPEG", size=(8 + i, 8)))
        lines = [f"photo/a b/{i}.jpg {i % 2}" for i in range(4)]
        good = {
            "mark": "\ufeff" + "\n".join(lines), "windows": "\r\n".join(lines) + "\r\n", "old-mac": "\r".join(lines), "tabs": "\n".join("\t".join(line.rsplit(" ", 1)) for line in lines),
            "blanks": "\n\n".join(line + "  " for line in lines) + "\n \n", "dots": "\n".join(".//" + line for line in lines),
        }
        parts = [part for name, text in good.items() for part in ("--list", f"{name}:test={self.write(f'{name}.txt', text)}")]
        expect(self.pack(*parts, "--root", self.folder / "in"), 0, "24 images of 6 domains")
        bad = {
            "nothing": ("\n \r\n", "lists no images"), "a zero byte": ("photo/a b/0.jpg\0x 0", "zero byte"), "something else": (bytes(3 << 20), "is no list"),
            "commas": ("photo/a b/0.jpg,0", "is no label"),
        }
        for name, (text, *words) in bad.items():
            with self.subTest(name):
                expect(self.pack("--list", f"photo:test={self.write('list.txt', text)}", "--root", self.folder / "in"), 65, *words)
                self.assertFalse(self.out.exists())

    def test_published_sets(self):
        """Their layouts, and lists as the paper's repository has them (data_tools/README.md)."""
        sets = {
            "office_home": ({"Art": "OfficeHomeDataset_10072016/Art", "Real": "OfficeHomeDataset_10072016/Real World"}, ["Alarm_Clock", "Backpack"], "{:05}.jpg"),
            "domainnet": ({"clipart": "clipart", "painting": "painting"}, ["aircraft_carrier", "alarm_clock"], "clipart_001_{:06}.jpg"),
            "cub": ({"Real": "CUB_200_2011/images", "Painting": "CUB-200-Painting/images"}, ["001.Black_footed_Albatross", "002.Laysan_Albatross"], "Black_Footed_Albatross_{:04}_796097.jpg"),
        }
        for name, (domains, categories, form) in sets.items():
            root, arguments = self.folder / name, []
            for half, (domain, folder) in enumerate(domains.items()):
                lists = {"train_cls_disjoint1": [], "train_cls_disjoint2": [], "val": [], "test": []}
                for label, category in enumerate(categories):
                    for number in range(6):
                        path = f"{category}/{form.format(number)}"
                        self.write(f"{name}/{folder}/{path}", saved("JPEG", size=(8 + number, 8 + 2 * half + label)))
                        lists[(f"train_cls_disjoint{label + 1}", "val", "test")[number % 3]].append(f"/home/ubuntu/data/{name}/{domain}/{path} {label}")
                for split, lines in lists.items():
                    self.write(f"{name}-lists/{domain}_{split}.txt", "\n".join(lines) + "\n")
                for split, file in ("train", f"train_cls_disjoint{half + 1}"), ("val", "val"), ("test", "test"):
                    arguments += ["--list", f"{domain}:{split}={self.folder}/{name}-lists/{domain}_{file}.txt"]
            if name == "office_home":
                root = root / "OfficeHomeDataset_10072016"
                (root / "Real").symlink_to("Real World")
            if name == "cub":
                (root / "birds").mkdir()
                for domain, folder in domains.items():
                    (root / "birds" / domain).symlink_to(root / folder)
                root = root / "birds"
            with self.subTest(name):
                expect(self.pack("--root", root, "--strip", f"/home/ubuntu/data/{name}", *arguments), 0, "20 images of 2 domains")
                self.assertEqual(self.rows(), {"train": 4, "val": 8, "test": 8})

    def test_tables(self):
        for i in range(4):
            self.write(f"in/photo/{i}.png", saved("PNG", size=(8 + i, 8)))
            self.write(f"in/masks/{i}.png", saved("PNG", "L", size=(8 + i, 8)))
        rows = [["path", "domain", "label", "prompt", "mask"]] + [[f"photo/{i}.png", "photo", "1", f"a photo, {i}", f"masks/{i}.png"] for i in range(4)]

        def table(name, rows, separator=",", end="\n"):
            return self.write(name, end.join(separator.join(f'"{field}"' if "," in field else field for field in row) for row in rows) + end)

        kinds = {"commas": {}, "tabs": {"separator": "\t"}, "semicolons": {"separator": ";"}, "windows": {"end": "\r\n"}, "old-mac": {"end": "\r"}}
        tables = [table(f"{name}.csv", rows[:1] + [[row[0], name, *row[2:]] for row in rows[1:]], **kind) for name, kind in kinds.items()]
        expect(self.pack(*(part for file in tables for part in ("--table", file)), "--root", self.folder / "in", "--val", "0", "--test", "0"), 0, "20 images of 5 domains")
        for name in kinds:
            self.assertIn(f"{name}/photo/2.png\ta photo, 2\n", (self.out / "prompts.tsv").read_text())
            self.assertIn(f"{name}/photo/2.png\t{self.folder}/in/masks/2.png\n", (self.out / "masks.tsv").read_text())
        named = [["path", "domain", "category"], ["photo/0.png", "photo", "dog"]]
        bad = {
            "names alone": ([rows[:1]], "lists no images"), "no mask there": ([rows[:1] + [rows[1][:4] + ["masks/9.png"]]], "the mask"),
            "a mask elsewhere": ([rows[:1] + [rows[1][:4] + ["../9.png"]]], "leaves its folder"), "numbers, then names": ([rows, named], "by number in the column label"),
            "names, then numbers": ([named, rows], "by number in the column label"),
        }
        for name, (contents, *words) in bad.items():
            with self.subTest(name):
                files = [table(f"{number}.csv", content) for number, content in enumerate(contents)]
                expect(self.pack(*(part for file in files for part in ("--table", file)), "--root", self.folder / "in"), 65, *words)
        expect(self.pack("--table", tables[0], "--root", self.folder / "in", "--size", "8"), 2, "--size cuts images out")

    def test_pictures_keep_their_bytes_from_folders_to_folders(self):
        for d in ("photo", "sketch"):
            for i in range(6):
                self.write(f"in/{d}/{i % 2}/{i}.jpg", saved("JPEG", size=(30 + i, 20), quality=60 + i))
        half = saved("JPEG", size=(256, 256), quality=95)[:-300]
        self.write("in/photo/0/half.jpg", half)
        self.write("in/photo/0/hollow.jpg", half + b"\xff\xd9")
        files = {file.relative_to(self.folder / "in").as_posix(): file.read_bytes() for file in (self.folder / "in").rglob("*.jpg")}
        expect(self.pack(self.folder / "in", "--no-disjoint", "--trust"), 65, "no end mark")
        (self.folder / "in/photo/0/half.jpg").unlink()
        expect(self.pack(self.folder / "in", "--no-disjoint", "--trust"), 0, "13 images")
        expect(run("syncdr-data", "verify", self.out), 65, "hollow.jpg")
        (self.folder / "in/photo/0/hollow.jpg").unlink()
        expect(self.pack(self.folder / "in", "--no-disjoint"), 0, "12 images")
        for kind in ("folders", "webdataset"):
            out, given = self.out, self.folder / kind
            expect(run("syncdr-data", "export", out, "--as", kind, "-o", given), 0)
            if kind == "folders":
                again = ["--table", given / "pictures.csv", "--no-disjoint"]
            else:
                again = [part for tar in sorted(given.glob("*.tar")) for part in ("--tar", "{}:{}={}".format(*tar.name.split("-")[:2], tar))]
            expect(self.pack(*again), 0, "12 images")
            packed = b"".join(file.read_bytes() for file in self.out.rglob("*.h5"))
            for name, content in files.items():
                self.assertEqual(content in packed, "h" not in name.split("/")[-1], name)
            self.out = out

    def shard(self, members, name="a.tar", format=tarfile.PAX_FORMAT, **headers):
        with tarfile.open(self.folder / name, "w", format=format) as archive:
            for path, content in members:
                member = tarfile.TarInfo(path)
                if isinstance(content, str):
                    member.type, member.linkname = tarfile.SYMTYPE, content
                elif content is None:
                    member.type = tarfile.DIRTYPE
                else:
                    member.size = len(content)
                member.pax_headers = headers
                archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
        return self.folder / name

    def test_archives(self):
        samples = [(f"set/{i:03}.{extension}", content) for i in range(4) for extension, content in (("JPG", saved("JPEG", size=(8 + i, 8))), ("cls", b"1\n"), ("json", b"{}"))]
        good = {
            "pax": (samples, {}), "owner-and-time": (samples, {"mtime": "1.5", "comment": "x" * 600}),
            "gnu": ([("x" * 150 + name, content) for name, content in samples], {"format": tarfile.GNU_FORMAT}),
            "folders-and-links": ([("set/", None), ("set/link.jpg", "000.JPG"), ("README", b"x"), ("set/._000.JPG", b"x")] + samples, {}),
        }
        parts = [part for name, (members, options) in good.items() for shard in [self.shard(members, f"{name}.tar", **options)] for split in ("train", "test")
                 for part in ("--tar", f"{name}:{split}={shard}")]
        expect(self.pack(*parts), 0, "32 images of 4 domains")  # each split counts its samples from 0
        bad = {
            "out": (self.shard([("../a.jpg", JPEG), ("../a.cls", b"1")], "1.tar"), "leaves its folder"), "nothing": (self.shard([], "2.tar"), "holds no images"),
            "zip": (self.write("3.tar", b"PK\3\4" + bytes(2000)), "checksum"),
        }
        for name, (file, *words) in bad.items():
            with self.subTest(name):
                expect(self.pack("--tar", f"photo:test={file}"), 65, *words)
                self.assertFalse(self.out.exists())


if __name__ == "__main__":
    unittest.main()
