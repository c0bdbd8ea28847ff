#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93, imagecodecs 2026.3.6 (libtiff 4.7.1), pillow 13.0.0.
# Expected: of a TIFF whose alpha is marked as not multiplied into its colours, readers give the colours that stand in it, or multiply all of them.
# Happens: libtiff's TIFFReadRGBAImage multiplies red, green and blue with alpha, but not grey; nothing in what it returns tells which. OpenCV reads RGBA through it: colours come
#   back multiplied, with IMREAD_UNCHANGED too, although it gives those of a PNG as they are. Of grey with alpha it drops the alpha.
# Matters: cut-out objects get dark fringes when they are laid over a background (multiplied twice), and a grey one among them does not: figures depend on the file format.
# Source: libtiff/tif_getimage.c (putRGBUAcontig8bittile multiplies, putagreytile does not); OpenCV modules/imgcodecs/src/grfmt_tiff.cpp.
. "$(dirname "$0")/common.sh"
python_packages opencv-python-headless==5.0.0.93 imagecodecs==2026.3.6 tifffile==2026.3.3 numpy==2.4.6 pillow==13.0.0
cat > "$tmp/program.py" <<'E'
import cv2, imagecodecs, numpy as np, tifffile
from PIL import Image
print("libtiff", imagecodecs.tiff_version().split()[-1])
for name, mode, photometric in ("grey", "LA", "minisblack"), ("colour", "RGBA", "rgb"):
    pixels = np.full((4, 4, len(mode)), 200, np.uint8); pixels[..., -1] = 128
    tifffile.imwrite("a.tif", pixels, photometric=photometric, extrasamples=["unassalpha"])
    Image.fromarray(pixels, mode).save("a.png")
    show = lambda image: np.atleast_1d(image[0, 0]).tolist()
    print(name, "200 with alpha 128: libtiff's RGBA", show(imagecodecs.tiff_decode(open("a.tif", "rb").read(), asrgb=True)), "Pillow", list(Image.open("a.tif").convert("RGBA").getpixel((0, 0))),
          "OpenCV unchanged: TIFF", show(cv2.imread("a.tif", cv2.IMREAD_UNCHANGED)), "PNG", show(cv2.imread("a.png", cv2.IMREAD_UNCHANGED)))
E
cd "$tmp"
observe python "$tmp/program.py"
verdict <<'E'
libtiff 4.7.1
grey 200 with alpha 128: libtiff's RGBA [200, 200, 200, 128] Pillow [200, 200, 200, 128] OpenCV unchanged: TIFF [200] PNG [200, 200, 200, 128]
colour 200 with alpha 128: libtiff's RGBA [100, 100, 100, 128] Pillow [200, 200, 200, 128] OpenCV unchanged: TIFF [100, 100, 100, 128] PNG [200, 200, 200, 128]
E
