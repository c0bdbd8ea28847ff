#!/usr/bin/env bash
# datasets 5.2.0, pillow 13.0.0. Seen on 2026-11-30.
# Expected: an image that a function given to map edits in place (thumbnail, paste, ImageDraw) and returns is stored as edited.
# Happens: if the image came from a file, the original stays: map stores the path that Pillow remembers in image.filename and drops the pixels. The same function on the same
#   file's bytes, as in a parquet data set, or with resize() in place of thumbnail(), does store the edit.
# Matters: thumbnails, masked-out regions and drawn boxes of a folder of images are gone without a word; training runs at full size, or on pictures that still show what was hidden.
# Source: datasets/features/image.py, encode_pil_image.
. "$(dirname "$0")/common.sh"
python_packages datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import datasets, os, tempfile
from PIL import Image, ImageDraw
datasets.disable_progress_bars(); os.chdir(tempfile.mkdtemp())
Image.new("RGB", (64, 64), "white").save("a.png")
def thumbnail(row): row["image"].thumbnail((8, 8)); return row
def draw(row): ImageDraw.Draw(row["image"]).rectangle((0, 0, 63, 63), fill="black"); return row
def resize(row): return {"image": row["image"].resize((8, 8))}
for what, source in ("a file", {"path": "a.png", "bytes": None}), ("its bytes", {"path": None, "bytes": open("a.png", "rb").read()}):
    data = datasets.Dataset.from_dict({"image": [source]}).cast_column("image", datasets.Image())
    for edit in thumbnail, draw, resize:
        image = data.map(edit)[0]["image"]
        print(f"{what}, {edit.__name__}: size {image.size}, first pixel {image.getpixel((0, 0))}")
E
observe python "$tmp/program.py"
verdict <<'E'
a file, thumbnail: size (64, 64), first pixel (255, 255, 255)
a file, draw: size (64, 64), first pixel (255, 255, 255)
a file, resize: size (8, 8), first pixel (255, 255, 255)
its bytes, thumbnail: size (8, 8), first pixel (255, 255, 255)
its bytes, draw: size (64, 64), first pixel (0, 0, 0)
its bytes, resize: size (8, 8), first pixel (255, 255, 255)
E
