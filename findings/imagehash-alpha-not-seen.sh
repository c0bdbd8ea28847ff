#!/usr/bin/env bash
# ImageHash 4.3.2, pillow 13.0.0. Seen on 2026-11-30.
# Expected: a perceptual hash is that of what one sees: a disc, a bar and a cross on a transparent ground have different ones.
# Happens: the alpha channel is dropped and the colours beneath it are hashed. Where the drawing is in the alpha alone (black everywhere, as icons, line drawings and logos are often
#   exported), all five kinds of hash are equal for all pictures: distance 0. Put on white first, they differ.
# Matters: deduplicating sketches or cliparts by distance removes all but one; looking for test images among training images finds everything.
# Source: imagehash/__init__.py: image.convert('L') in each.
. "$(dirname "$0")/common.sh"
python_packages ImageHash==4.3.2 pillow==13.0.0 numpy==2.4.6 scipy==1.17.1 PyWavelets==1.9.0
cat > "$tmp/program.py" <<'E'
import imagehash
from PIL import Image, ImageDraw
def drawing(draw):
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0)); draw(ImageDraw.Draw(image)); return image
drawings = [drawing(lambda d: d.ellipse((8, 8, 56, 56), fill="black")), drawing(lambda d: d.rectangle((28, 0, 36, 63), fill="black")),
            drawing(lambda d: (d.line((0, 0, 63, 63), "black", 6), d.line((0, 63, 63, 0), "black", 6)))]
def on_white(image): ground = Image.new("RGBA", image.size, "white"); ground.alpha_composite(image); return ground
for kind in "average_hash", "phash", "dhash", "whash", "colorhash":
    for what, images in ("as they are", drawings), ("on white", map(on_white, drawings)):
        disc, bar, cross = map(getattr(imagehash, kind), images)
        print(f"{kind}, {what}: distances disc - bar {disc - bar}, disc - cross {disc - cross}, bar - cross {bar - cross}")
E
observe python "$tmp/program.py"
verdict <<'E'
average_hash, as they are: distances disc - bar 0, disc - cross 0, bar - cross 0
average_hash, on white: distances disc - bar 24, disc - cross 32, bar - cross 24
phash, as they are: distances disc - bar 0, disc - cross 0, bar - cross 0
phash, on white: distances disc - bar 29, disc - cross 31, bar - cross 28
dhash, as they are: distances disc - bar 0, disc - cross 0, bar - cross 0
dhash, on white: distances disc - bar 24, disc - cross 34, bar - cross 28
whash, as they are: distances disc - bar 0, disc - cross 0, bar - cross 0
whash, on white: distances disc - bar 32, disc - cross 32, bar - cross 32
colorhash, as they are: distances disc - bar 0, disc - cross 0, bar - cross 0
colorhash, on white: distances disc - bar 1, disc - cross 1, bar - cross 0
E
