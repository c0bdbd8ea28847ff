"""syncdr-data pack beside Pillow: the same pixels of JPEG, PNG, WebP and TIFF of every kind, upright as EXIF says."""
import io
import os
import pathlib
import subprocess
import tempfile
import unittest

import h5py
import numpy
from PIL import Image, ImageOps

BIN = pathlib.Path(os.environ["SYNCDR_BIN"])
ORIENTATION = 0x0112


def picture(mode="RGB", height=24, width=40):
    """Smooth, and unlike itself however it is turned."""
    y, x = numpy.mgrid[0:height, 0:width]
    rgb = numpy.stack([255 * y // height, 255 * x // width, 255 * ((y > height // 2) & (x > width // 2))], 2).astype(numpy.uint8)
    if mode in ("RGBA", "LA"):
        return Image.fromarray(numpy.dstack([rgb, 255 * x // width]).astype(numpy.uint8), "RGBA").convert(mode)
    return Image.fromarray(rgb).convert(mode)


def expected(file):
    """What a person sees: upright, over white paper, 8-bit RGB."""
    image = ImageOps.exif_transpose(Image.open(file))
    if "A" in image.getbands():
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return numpy.asarray(image.convert("RGB")).astype(int)


class Pictures(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="syncdr-pictures-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.category = self.folder / "in" / "photo" / "thing"
        self.category.mkdir(parents=True)
        (self.folder / "in" / "sketch" / "thing").mkdir(parents=True)
        picture().save(self.folder / "in" / "sketch" / "thing" / "other.png")

    def pack(self, *arguments, code=0):
        command = [BIN / "syncdr-data", "pack", self.folder / "in", "-o", self.folder / "out", "--no-disjoint", "--val", "0", "--test", "0", *arguments]
        process = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
        self.assertEqual(process.returncode, code, process.stderr)
        return process.stdout + process.stderr

    def stored(self):
        """Name -> bytes, of the domain photo."""
        all = {}
        for file in sorted(self.folder.glob("out/real/photo/*.h5")):
            with h5py.File(file) as shard:
                offset, data = shard["image/offset"][:], shard["image/data"][:]
                for key, first, last in zip(shard["key"][:], offset, offset[1:]):
                    all[key.decode().split("/")[-1]] = data[first:last].tobytes()
        return all

    def compare(self, tolerance):
        stored = self.stored()
        files = sorted(self.category.iterdir())
        self.assertEqual(sorted(stored), [file.name for file in files])
        for file in files:
            ours = expected(io.BytesIO(stored[file.name]))
            theirs = expected(file)
            self.assertEqual(ours.shape, theirs.shape, file.name)
            self.assertLessEqual(abs(ours - theirs).max(), tolerance(file.name), file.name)

    def test_all_orientations_of_all_formats_stand_upright(self):
        for orientation in range(1, 9):
            for suffix, options in ("jpg", {"quality": 95, "subsampling": 0}), ("png", {}), ("webp", {"lossless": True}):
                exif = Image.Exif()
                exif[ORIENTATION] = orientation
                picture().save(self.category / f"{orientation}.{suffix}", exif=exif, **options)
            picture().save(self.category / f"{orientation}.tif", tiffinfo={ORIENTATION: orientation}, compression="tiff_lzw")
        said = self.pack("--codec", "png")
        self.assertIn("21 images were turned upright", said)  # TIFFs are turned as they are decoded
        self.compare(lambda name: 2 if name.endswith("jpg") else 0)

    def test_a_jpeg_that_lies_on_its_side_is_turned_and_others_keep_their_bytes(self):
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        picture().save(self.category / "side.jpg", quality=95, subsampling=0, exif=exif)
        exif[ORIENTATION] = 1
        picture().save(self.category / "upright.jpg", quality=80, exif=exif)
        self.pack("--codec", "jpeg")
        self.assertEqual(self.stored()["upright.jpg"], (self.category / "upright.jpg").read_bytes())
        side = Image.open(io.BytesIO(self.stored()["side.jpg"]))
        self.assertEqual(side.size, (24, 40))
        self.assertEqual(side.getexif().get(ORIENTATION), None)
        self.compare(lambda name: 4)

    def test_kinds_of_pixels(self):
        for mode in ("L", "LA", "RGB", "RGBA", "P", "1"):
            picture(mode).save(self.category / f"{mode}.png")
            picture(mode).save(self.category / f"{mode}.tif")
        for mode in ("RGB", "RGBA"):
            picture(mode).save(self.category / f"{mode}.webp", lossless=True, exact=True)
        for compression in ("tiff_deflate", "packbits", "tiff_lzw"):
            picture().save(self.category / f"{compression}.tiff", compression=compression)
        picture("CMYK").save(self.category / "CMYK.tif")
        wide = numpy.asarray(picture("L")).astype(numpy.uint16) * 257
        Image.fromarray(wide).save(self.category / "16.tif")
        self.pack("--codec", "png")
        stored = self.stored()
        sixteen = numpy.asarray(Image.open(io.BytesIO(stored["16.tif"])).convert("RGB"))
        (self.category / "16.tif").unlink()  # Pillow makes all above 255 white
        self.assertTrue((sixteen == numpy.asarray(picture("L"))[:, :, None]).all())
        self.assertEqual(set(stored), {file.name for file in self.category.iterdir()} | {"16.tif"})
        for file in self.category.iterdir():
            ours = expected(io.BytesIO(stored[file.name]))  # a PNG keeps its alpha
            self.assertLessEqual(abs(ours - expected(file)).max(), 1, file.name)  # premultiplied colours are rounded twice

    def test_surplus_bytes_of_a_jpeg_do_no_harm_and_missing_ones_do(self):
        picture(height=64, width=64).save(self.category / "whole.jpg", quality=90)
        whole = (self.category / "whole.jpg").read_bytes()
        (self.category / "surplus.jpg").write_bytes(whole[:-2] + bytes(7) + whole[-2:])
        self.pack("--codec", "jpeg")
        self.assertEqual(self.stored()["surplus.jpg"], (self.category / "surplus.jpg").read_bytes())
        self.compare(lambda name: 0)
        (self.category / "short.jpg").write_bytes(whole[: len(whole) // 2])
        (self.category / "short-with-surplus.jpg").write_bytes(whole[: len(whole) // 2] + bytes(7) + whole[-2:])
        for name in "short.jpg", "short-with-surplus.jpg":
            self.assertIn("is broken", self.refused(name))

    def refused(self, name):
        """What packing says of this picture alone."""
        alone = self.folder / name
        (alone / "photo" / "thing").mkdir(parents=True)
        os.link(self.category / name, alone / "photo" / "thing" / name)
        process = subprocess.run([str(BIN / "syncdr-data"), "pack", str(alone), "-o", str(self.folder / f"{name}.out")], capture_output=True, text=True, timeout=120)
        self.assertEqual(process.returncode, 65, process.stderr)
        return process.stderr + process.stdout

    def test_broken_and_other_formats_are_named(self):
        picture().save(self.category / "a.webp")
        picture().save(self.category / "a.tif")
        frames = [picture(), picture().rotate(180)]
        frames[0].save(self.category / "moving.webp", save_all=True, append_images=frames[1:])
        picture().save(self.folder / "a.gif")
        picture().save(self.folder / "a.bmp")
        for name, file in ("gif.jpg", "a.gif"), ("bmp.png", "a.bmp"):
            (self.category / name).write_bytes((self.folder / file).read_bytes())
        for name in "a.webp", "a.tif":
            content = (self.category / name).read_bytes()
            (self.category / f"half-{name}").write_bytes(content[: len(content) // 2])
        for name, words in (("moving.webp", "is an animation"), ("gif.jpg", "is a GIF"), ("bmp.png", "is a BMP"), ("half-a.webp", "WebP"), ("half-a.tif", "TIFF")):
            self.assertIn(words, self.refused(name))


if __name__ == "__main__":
    unittest.main()
