#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0, pillow 13.0.0. Seen on 2026-11-30.
# Expected: VaeImageProcessor resizes with its resample setting, "lanczos" by default, whether the image is a PIL image, an array or a tensor of the same values.
# Happens: arrays and tensors are resized by torch's interpolate with its default, the nearest pixel, without smoothing; resample is not looked at. A chequerboard of single pixels
#   becomes grey as a PIL image and all black as a tensor. A tensor of 250 pixels is made 248 in this way even if
#   no size is passed.
# Matters: an img2img batch from a DataLoader gets aliased inputs where the same files opened with Pillow get smooth ones, so that pictures and features differ by the input's type.
# Source: diffusers/image_processor.py, VaeImageProcessor.resize.
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.23.0 torch==2.15.0 numpy==2.4.6 pillow==13.0.0
cat > "$tmp/program.py" <<'E'
import numpy as np, torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
chequers = np.repeat((np.indices((256, 256)).sum(0) % 2 * 255).astype("u1")[..., None], 3, 2)
def kinds(pixels): return {"PIL": Image.fromarray(pixels), "array": pixels[None] / 255, "tensor": torch.tensor(pixels / 255).permute(2, 0, 1)[None]}
for resample in "lanczos", "bilinear":
    for kind, image in kinds(chequers).items():
        small = VaeImageProcessor(resample=resample).preprocess(image, height=64, width=64)
        print(f"{resample}, {kind}: 256 to 64 pixels, values from {small.min():.2f} to {small.max():.2f} (black is -1)")
E
observe python "$tmp/program.py"
verdict <<'E'
lanczos, PIL: 256 to 64 pixels, values from -0.00 to 0.00 (black is -1)
lanczos, array: 256 to 64 pixels, values from -1.00 to -1.00 (black is -1)
lanczos, tensor: 256 to 64 pixels, values from -1.00 to -1.00 (black is -1)
bilinear, PIL: 256 to 64 pixels, values from -0.00 to 0.00 (black is -1)
bilinear, array: 256 to 64 pixels, values from -1.00 to -1.00 (black is -1)
bilinear, tensor: 256 to 64 pixels, values from -1.00 to -1.00 (black is -1)
E
