#!/usr/bin/env bash
# torchvision 0.29.2, torch 2.15.0.
# Expected: a picture resized with bicubic interpolation as a float tensor and turned into uint8 again is clipped at black and white, as it is when resized as uint8.
# Happens: Resize overshoots to below 0 and above 1 at edges and does not clip floats; ToDtype(uint8, scale=True) and to_pil_image do not clip either, they wrap:
#   white next to an edge becomes nearly black, black becomes nearly white.
# Matters: pictures saved from a float pipeline (samples of a generator, super-resolution, augmented training images) get specks along every sharp edge.
# Source: torchvision/transforms/v2/functional/_geometry.py (only uint8 is clamped), _misc.py (to_dtype_image), transforms/functional.py (to_pil_image: mul(255).byte()).
. "$(dirname "$0")/common.sh"
python_packages torchvision==0.29.2 torch==2.15.0 numpy==2.4.6 pillow==13.0.0
cat > "$tmp/program.py" <<'E'
import numpy as np, torch
from torchvision.transforms import v2
bicubic = v2.Resize((8, 8), interpolation=v2.InterpolationMode.BICUBIC)
edge = torch.zeros(1, 4, 4, dtype=torch.uint8); edge[..., 2:] = 255
as_float = bicubic(v2.functional.to_dtype(edge, torch.float32, scale=True))
print("a row of the edge resized as uint8:", bicubic(edge)[0, 0].tolist())
print("resized as float, then to_dtype:", v2.functional.to_dtype(as_float, torch.uint8, scale=True)[0, 0].tolist())
print("resized as float, then to_pil_image:", np.array(v2.functional.to_pil_image(as_float))[0].tolist())
print("resized as float, clamped, then to_dtype:", v2.functional.to_dtype(as_float.clamp(0, 1), torch.uint8, scale=True)[0, 0].tolist())
E
observe python "$tmp/program.py"
verdict <<'E'
a row of the edge resized as uint8: [0, 0, 0, 52, 203, 255, 255, 255]
resized as float, then to_dtype: [0, 251, 239, 51, 203, 17, 5, 255]
resized as float, then to_pil_image: [0, 251, 239, 51, 203, 16, 4, 254]
resized as float, clamped, then to_dtype: [0, 0, 0, 51, 203, 255, 255, 255]
E
