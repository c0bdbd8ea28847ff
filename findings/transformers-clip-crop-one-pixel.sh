#!/usr/bin/env bash
# transformers 5.23.0, open_clip_torch 3.3.0, torchvision 0.29.2. Seen on 2026-11-30.
# Expected: CLIP's preprocessing in transformers and open_clip gives the same pixels but for rounding: both resize the shorter side to 224 with torchvision and cut out the middle.
# Happens: where the resized longer side minus 224 is odd, the cuts may be one pixel apart: torchvision, and with it open_clip, rounds half to even, transformers rounds down. Of the
#   100 longer sides from 225 to 324 a quarter is cut elsewhere; 640 x 427, a common size of photographs, is one of them.
# Matters: a gallery made with one and queried with the other has, for such aspect ratios, pictures shifted by one pixel, and features that differ for no visible reason.
# Source: torchvision/transforms/functional.py, center_crop (round), transformers/image_processing_backends.py (integer of the half).
. "$(dirname "$0")/common.sh"
python_packages transformers==5.23.0 open_clip_torch==3.3.0 torchvision==0.29.2 torch==2.15.0 numpy==2.4.6 pillow==13.0.0
cat > "$tmp/program.py" <<'E'
import numpy as np, open_clip
from PIL import Image
from transformers import CLIPImageProcessor
theirs, processor = open_clip.image_transform(224, is_train=False, resize_mode="shortest", interpolation="bicubic"), CLIPImageProcessor()
def both(image): return theirs(image).numpy(), np.array(processor(image, return_tensors="np")["pixel_values"][0])
noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype("u1")
for size in (640, 480), (500, 375), (640, 427), (427, 640), (501, 375):
    a, b = both(Image.fromarray(noise).resize(size, Image.BICUBIC))
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if np.abs(np.roll(b, (dy, dx), (1, 2)) - a)[:, 4:-4, 4:-4].max() < 0.1]
    print(f"{size[0]} x {size[1]}: mean difference above 0.05: {np.abs(a - b).mean() > 0.05}, the same when transformers' is shifted by (y, x) = {shifts}")
ramp = np.repeat(np.tile(np.arange(324) % 256, (224, 1)).astype("u1")[..., None], 3, 2)
print("longer sides 225 to 324 that are cut elsewhere:", sum(np.abs(np.subtract(*both(Image.fromarray(ramp[:, :width])))).max() > 0.01 for width in range(225, 325)))
E
observe python "$tmp/program.py"
verdict <<'E'
640 x 480: mean difference above 0.05: False, the same when transformers' is shifted by (y, x) = [(0, 0)]
500 x 375: mean difference above 0.05: False, the same when transformers' is shifted by (y, x) = [(0, 0)]
640 x 427: mean difference above 0.05: True, the same when transformers' is shifted by (y, x) = [(0, -1)]
427 x 640: mean difference above 0.05: True, the same when transformers' is shifted by (y, x) = [(-1, 0)]
501 x 375: mean difference above 0.05: True, the same when transformers' is shifted by (y, x) = [(0, -1)]
longer sides 225 to 324 that are cut elsewhere: 25
E
