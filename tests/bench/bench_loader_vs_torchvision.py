"""Training views from 500-pixel JPEG files: our loader beside torchvision's transforms in PyTorch's DataLoader, images per second of a core.

    python tests/bench/bench_loader_vs_torchvision.py build/release/bin --rounds 5 [--images 400] [--json FILE]

With the Python beside LibTorch's wheel; `ninja -C build/release bench_loader` before. Both sides decode the same files, resize both sides to 256 pixels, cut
224 at random, flip, and normalise to float32. Both are timed by the processor time of their whole process, so that other work on the machine counts for
neither. The DataLoader has no worker: one would cost it the passing of batches, too. Runs alternate, each on one core; a figure is the median of a side's."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

PLAIN = """
import sys, time, torch
from torchvision import datasets
from torchvision.transforms import v2
from torch.utils.data import DataLoader
torch.set_num_threads(1)
views = v2.Compose([v2.Resize((256, 256)), v2.RandomCrop(224), v2.RandomHorizontalFlip(), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
                    v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
loader = DataLoader(datasets.ImageFolder(sys.argv[1], views), 64, shuffle=True, drop_last=True)
for _ in loader:  # the first pass fills the page cache
    pass
start, images = time.process_time(), 0
while time.process_time() - start < 4:
    for pictures, _ in loader:
        images += len(pictures)
print(images / (time.process_time() - start))
"""


def draw_photo(path, number):
    """Noise of four sizes under ten shapes, blurred a little: 25 to 40 KB at quality 90, as photographs have."""
    random = np.random.default_rng(number)
    pixels = 128 + random.normal(0, 4, (375, 500, 3))
    for cells, strength in ((4, 70), (12, 40), (40, 22), (120, 12)):
        noise = Image.fromarray(random.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
        pixels += strength * (np.asarray(noise) / 255 - 0.5)
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(10):
        (x, y), (width, height) = random.integers(0, (500, 375)), random.integers(10, 120, 2)
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((x, y, x + width, y + height), fill=tuple(int(value) for value in random.integers(0, 256, 3)))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    picture.filter(ImageFilter.GaussianBlur(0.6)).save(path, quality=90)


def run(command, **more):
    core = max(os.sched_getaffinity(0))
    result = subprocess.run(command, text=True, capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}), **more)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
    return result.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=os.path.abspath, help="folder of bench_loader and syncdr-data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures, packed = os.path.join(folder, "pictures"), os.path.join(folder, "packed")
        for number in range(options.images):
            draw_photo(os.path.join(pictures, "photo", "things", f"{number:04}.jpg"), number)
        os.makedirs(os.path.join(pictures, "other", "things"))
        for name in ("0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg"):  # a data set has two domains
            os.link(os.path.join(pictures, "photo", "things", name), os.path.join(pictures, "other", "things", name))
        split = ["--val", "0", "--test", "0"]
        run([os.path.join(options.bin, "syncdr-data"), "pack", pictures, "-o", packed, "--no-disjoint", *split])

        def ours():
            text = run([os.path.join(options.bin, "bench_loader"), "--benchmark_filter=photos", "--benchmark_min_time=4", "--benchmark_format=json"],
                       env=dict(os.environ, SYNCDR_DATASET=packed))
            return json.loads(text)["benchmarks"][0]["items_per_second"]

        def theirs():
            return float(run([sys.executable, "-c", PLAIN, os.path.join(pictures, "photo")]))

        sides = {"syncdr": ours, "DataLoader": theirs}
        figures = {name: [] for name in sides}
        for number in range(options.rounds):
            for name, measure in sides.items():
                figures[name].append(measure())
                print(f"round {number + 1}: {name}: {figures[name][-1]:.0f} images per core-second", flush=True)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    plain = medians["DataLoader"]
    for name, value in medians.items():
        print(f"{name:12} {value:8.0f} images per core-second  {value / plain:5.2f} x   {min(figures[name]):.0f} to {max(figures[name]):.0f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"runs": figures, "medians": medians, "ratio": medians["syncdr"] / plain}, file, indent=2)


if __name__ == "__main__":
    main()
