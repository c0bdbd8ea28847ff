"""syncdr-data pack of JPEG files beside `cp -r` and a loop over Pillow.

    python tests/bench/bench_pack.py build/release/bin --rounds 5 [--images 20000] [--folder /tmp] [--json FILE]

With the Python beside LibTorch's wheel. Files are 500 pixels wide, 25 to 40 KB; those that are resized also 2,000 pixels wide. `cp -r` and packing as they are
(each picture decoded; with --trust not) are timed by the clock: packing waits for the disk, `cp` does not. Resizing to 224 pixels is timed by the processor time
of the whole process, per core; its start takes half a second of that. Sides alternate, a figure is the median of a side's; the files are in the page cache
before, and what was written before is on the disk. What `cp` and Pillow have written is removed at the end alone: for minutes after so many files were removed ext4 makes
new ones at a tenth of the speed. Another figure is memory: what packing takes for each further image, from --counts of the same files under other names."""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from bench_loader_vs_torchvision import draw_photo
from PIL import Image

PILLOW = """
import pathlib, sys
from PIL import Image
for file in pathlib.Path(sys.argv[1]).rglob("*.jpg"):
    image = Image.open(file).convert("RGB")
    scale = 224 / min(image.size)
    image = image.resize((max(224, round(image.width * scale)), max(224, round(image.height * scale))), Image.Resampling.BOX)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    image.crop((left, top, left + 224, top + 224)).save(pathlib.Path(sys.argv[2]) / file.name, quality=95)
"""


def measured(command):
    """Seconds by the clock, of processors, and the peak of memory in MB."""
    start = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command}: {said.decode()[-2000:]}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def write_photos(folder, count, times=1):
    """So many files, of 256 different ones; enlarged so many times."""
    for i in range(count):
        file = folder / ("photo", "sketch")[i % 2] / f"category-{i // 2 % 50:02}" / f"{i:07}.jpg"
        if i < 256:
            draw_photo(str(file), i)
            if times > 1:
                small = Image.open(file)
                small.resize((times * small.width, times * small.height), Image.Resampling.BICUBIC).save(file, quality=90)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / ("photo", "sketch")[i % 2] / f"category-{i % 256 // 2 % 50:02}" / f"{i % 256:07}.jpg", file)


def bytes_per_image(pack, folder, counts):
    """What packing takes in memory for each image of the larger list that the smaller has not, in bytes. The pictures are tiny."""
    Image.new("RGB", (8, 8), (200, 60, 20)).save(folder / "tiny.jpg")
    peaks = []
    for count in counts:
        root = folder / f"tiny-{count}"
        for i in range(count):
            place = root / "photo" / f"category-{i % 100:03}" / f"{i:07}.jpg"
            if i < 100:
                place.parent.mkdir(parents=True)
            if i % 50000 == 0:  # a file has at most 65,000 names
                shutil.copyfile(folder / "tiny.jpg", place)
                first = place
            else:
                os.link(first, place)
        peaks.append(measured([*pack, root, "-o", folder / f"packed-{count}"])[2])
    return (peaks[1] - peaks[0]) * 2**20 / (counts[1] - counts[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--resized", type=int, default=10000, help="images that are resized, one in 25 of them where they are large")
    parser.add_argument("--counts", type=int, nargs=2, default=(100_000, 400_000))
    parser.add_argument("--folder", default=None)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    pack = [options.bin.resolve() / "syncdr-data", "pack"]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="syncdr-bench-pack-", dir=options.folder))
    sizes = {"": ("few", options.resized, 1), " of 2000 pixels": ("large", options.resized // 25, 4)}
    figures = {name: [] for name in ("cp", "pack", "trust", *(side + size for size in sizes for side in ("resize", "pillow")))}
    try:
        write_photos(folder / "in", options.images)
        for source, count, times in sizes.values():
            write_photos(folder / source, count, times)
        for number in range(options.rounds):
            for name, command, out in (("cp", ["cp", "-r", folder / "in", folder / f"copy-{number}"], None),
                                       ("pack", [*pack, folder / "in", "-o", folder / "out", "--no-disjoint"], folder / "out"),
                                       ("trust", [*pack, folder / "in", "-o", folder / "out", "--no-disjoint", "--trust"], folder / "out")):
                os.sync()
                figures[name].append(options.images / measured(command)[0])
                if out:
                    shutil.rmtree(out)
            for size, (source, count, _) in sizes.items():
                figures["resize" + size].append(count / measured([*pack, folder / source, "-o", folder / "out", "--no-disjoint", "--size", "224"])[1])
                shutil.rmtree(folder / "out")
                resized = folder / f"resized-{source}-{number}"
                resized.mkdir()
                figures["pillow" + size].append(count / measured([sys.executable, "-c", PILLOW, folder / source, resized])[1])
        result = {name: {"images/s": statistics.median(values), "range": [min(values), max(values)]} for name, values in figures.items()}
        for ours, theirs in ("pack", "cp"), ("trust", "cp"), *(("resize" + size, "pillow" + size) for size in sizes):
            ratios = [a / b for a, b in zip(figures[ours], figures[theirs])]
            result[f"{ours} / {theirs}"] = {"ratio": statistics.median(ratios), "range": [min(ratios), max(ratios)]}
        result["bytes per image"] = bytes_per_image([*pack, "--no-disjoint"], folder, options.counts)
        print(json.dumps(result, indent=2))
        if options.json:
            options.json.write_text(json.dumps(result, indent=2))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
