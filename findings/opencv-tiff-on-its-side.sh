#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93 (4.14.0.94 the same).
# Expected: a TIFF whose orientation tag says that it lies on its side (5 to 8) is read as a JPEG, PNG or WebP with the same tag: turned, or as it is stored where that is asked for.
# Happens: imread and imdecode return None, with IMREAD_IGNORE_ORIENTATION and IMREAD_UNCHANGED too; an internal check of the buffer's address fails. 1 to 4 are read.
# Matters: scanners and cameras write such files. A loader that passes over what cannot be read loses all pictures taken upright, and no other format shows it.
# Source: modules/imgcodecs/src/grfmt_tiff.cpp (the decoder turns the picture itself, into a new buffer), loadsave.cpp (imread_ wants the old one back).
. "$(dirname "$0")/common.sh"
python_packages opencv-python-headless==5.0.0.93 numpy==2.4.6 pillow==13.0.0
cat > "$tmp/program.py" <<'E'
import cv2, numpy as np
from PIL import Image
picture = Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3))
shape = lambda image: None if image is None else image.shape[:2]
for name, options in ("a.jpg", {}), ("a.png", {}), ("a.webp", {"lossless": True}), ("a.tif", {}):
    read = {}
    for orientation in (1, 3, 6, 8):
        exif = Image.Exif(); exif[0x0112] = orientation
        picture.save(name, exif=exif, **options)
        read[orientation] = [shape(cv2.imread(name, flag)) for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)]
        assert Image.open(name).getexif()[0x0112] == orientation
    print(name, read)
E
cd "$tmp"
observe python "$tmp/program.py"
verdict <<'E'
a.jpg {1: [(2, 3), (2, 3)], 3: [(2, 3), (2, 3)], 6: [(3, 2), (2, 3)], 8: [(3, 2), (2, 3)]}
a.png {1: [(2, 3), (2, 3)], 3: [(2, 3), (2, 3)], 6: [(3, 2), (2, 3)], 8: [(3, 2), (2, 3)]}
a.webp {1: [(2, 3), (2, 3)], 3: [(2, 3), (2, 3)], 6: [(3, 2), (2, 3)], 8: [(3, 2), (2, 3)]}
a.tif {1: [(2, 3), (2, 3)], 3: [(2, 3), (2, 3)], 6: [None, None], 8: [None, None]}
E
