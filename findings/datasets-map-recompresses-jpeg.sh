#!/usr/bin/env bash
# datasets 5.2.0, pillow 13.0.0. Seen on 2026-11-30.
# Expected: map keeps images that its function hands back untouched; what it stores of an edited one is what was edited.
# Happens: a JPEG that came from bytes (a parquet or WebDataset data set, or an earlier map) is compressed again with Pillow's defaults, quality 75 and half the colour resolution,
#   because Image.format still says JPEG. An image drawn upon in place is stored so as well. One made by resize or convert has no format any more and becomes a PNG. PNGs stay exact.
# Matters: a map that only adds a column, but returns the row, changes nearly every pixel of the pictures; features and near-duplicate hashes made before and after differ.
# Source: datasets/features/image.py, image_to_bytes.
. "$(dirname "$0")/common.sh"
python_packages datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import datasets, io, numpy as np
from PIL import Image
datasets.disable_progress_bars()
pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype("u1")
def encoded(**options):
    file = io.BytesIO(); Image.fromarray(pixels).save(file, **options); return {"path": None, "bytes": file.getvalue()}
def untouched(row): return {"image": row["image"], "label": 0}
def label_only(row): return {"label": 0}
for what, source in ("JPEG of quality 95", encoded(format="JPEG", quality=95, subsampling=0)), ("PNG", encoded(format="PNG")):
    data = datasets.Dataset.from_dict({"image": [source]}).cast_column("image", datasets.Image())
    before = np.array(data[0]["image"]).astype(int)
    for function in untouched, label_only:
        changed = np.abs(np.array(data.map(function)[0]["image"]) - before)
        print(f"{what}, {function.__name__}: more than 9 in 10 values changed: {(changed > 0).mean() > .9}, one by more than 100: {changed.max() > 100}, none: {changed.max() == 0}")
E
observe python "$tmp/program.py"
verdict <<'E'
JPEG of quality 95, untouched: more than 9 in 10 values changed: True, one by more than 100: True, none: False
JPEG of quality 95, label_only: more than 9 in 10 values changed: False, one by more than 100: False, none: True
PNG, untouched: more than 9 in 10 values changed: False, one by more than 100: False, none: True
PNG, label_only: more than 9 in 10 values changed: False, one by more than 100: False, none: True
E
