"""Training throughput of `syncdr train` beside the same training in plain PyTorch DDP, on this machine's CPU.

    python tests/bench/ddp/bench_train_vs_ddp.py build/release/bin --rounds 3 [--ranks 2] [--json FILE]
    python tests/bench/ddp/bench_train_vs_ddp.py build/release/bin --encoder resnet50 --precision bf16 --compile --rounds 3

With the Python beside LibTorch's wheel. Both have `--ranks` processes of one compute thread and one loader thread (worker) each, batch normalisation
over each rank's own part, the same files, batch and losses: PNG files of 64 pixels, or JPEG files of 500 pixels for ResNet-50 at 224. Runs alternate,
A B A B: a machine that slows down does so for both. A run's figure is the median over its windows of steps without the first, in which threads and
caches start and --compile compiles; the figure of a side is the median of its runs.
What differs: torchvision applies its augmentations one after the other, ours are one warp."""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
DOMAINS = ("colour", "ink")

# What each encoder is trained on: the pictures' side and format, images of a domain in a global batch, steps of a run and of a window, its settings.
SETTINGS = {
    "small": dict(side=64, codec="png", size=64, batch=32, steps=60, window=10, encoder='name = "small", dim = 256, feature_norm = true',
                  augment="resize = 64, crop = 64, flip = 0.5, rotation = 10.0, scale = 0.15, shift = 0.08, grey = 0.7"),
    "resnet50": dict(side=500, codec="jpeg", size=224, batch=8, steps=10, window=2, encoder='name = "resnet50", dim = 512',
                     augment="resize = 256, crop = 224, flip = 0.5"),
}

CONFIG = """
[data]
root = "{root}"
domains = ["colour", "ink"]
[run]
out = "{out}"
[comm]
device = "cpu"
threads = 1
[translate]
translator = "filter"
run = "filter"
size = {size}
[train]
images = {encoded}
batch = {batch}
pair_temperature = 0.1
matching_weight = 0.1
loader_threads = 1
validate_every = 1000000
checkpoint_every = 1000000
log_every = {window}
precision = "{precision}"
encoder = {{ {encoder}, batch_norm = "{batch_norm}" }}
optimizer = {{ name = "adamw", learning_rate = 2e-3, weight_decay = 0.01 }}
augment = {{ {augment} }}
"""


def draw_pictures(folder, images, side, codec):
    """Two domains of pictures, a few ellipses each on a grain as a camera's, in ten categories."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side]
    unit = side / 64
    for domain in DOMAINS:
        for index in range(images):
            picture = np.full((side, side, 3), 230.0)
            for _ in range(4):
                centre, radius = unit * random.uniform(10, 54, 2), unit * random.uniform(4, 20, 2)
                inside = ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2 < 1
                picture[inside] = random.uniform(0, 255, 3) if domain == "colour" else 20
            if codec == "jpeg":
                picture = np.clip(picture + random.normal(0, 6, picture.shape), 0, 255)
            category = os.path.join(folder, domain, f"{index % 10}")
            os.makedirs(category, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(os.path.join(category, f"{index:05}.{codec}"), quality=90)


def run(command, **more):
    result = subprocess.run(command, text=True, capture_output=True, **more)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
    return result.stdout


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.root = options, folder, os.path.join(folder, "data")
        self.settings = SETTINGS[options.encoder]
        draw_pictures(os.path.join(folder, "pictures"), options.images, self.settings["side"], self.settings["codec"])
        codec = [] if self.settings["codec"] == "jpeg" else ["--codec", "png"]
        run([os.path.join(options.bin, "syncdr-data"), "pack", os.path.join(folder, "pictures"), "-o", self.root, "--no-disjoint", *codec])
        self.syncdr("translate")

    def syncdr(self, command, *more, batch_norm="local"):
        out, config = os.path.join(self.folder, "run"), os.path.join(self.folder, "bench.toml")
        shutil.rmtree(out, ignore_errors=True)
        encoded = 4 * self.settings["batch"] * self.options.steps
        with open(config, "w") as file:
            file.write(CONFIG.format(root=self.root, out=out, encoded=encoded, precision=self.options.precision, batch_norm=batch_norm, **self.settings))
        launch = [os.path.join(PROJECT, "launch", "mpirun.sh"), "-np", str(self.options.ranks)]
        run(launch + [os.path.join(self.options.bin, "syncdr"), command, config, *more])
        return out

    def ours(self, batch_norm):
        out = self.syncdr("train", "--arm", "filter", batch_norm=batch_norm)
        rates = []
        for folder, _, names in os.walk(out):
            if "log.jsonl" in names:
                with open(os.path.join(folder, "log.jsonl")) as file:
                    for line in map(json.loads, file):
                        if "images_per_second" in line:
                            rates.append(line["images_per_second"])
        return statistics.median(rates[1:])

    def theirs(self, *more):
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(self.options.ranks)]
        training = [os.path.join(HERE, "plain_ddp.py"), "--root", self.root, "--translation", "filter", "--domains", *DOMAINS]
        sizes = ["--batch", str(self.settings["batch"]), "--steps", str(self.options.steps), "--window", str(self.settings["window"])]
        encoder = ["--encoder", self.options.encoder, "--precision", self.options.precision]
        lines = run(launch + training + sizes + encoder + list(more), env=environment).strip().splitlines()
        return statistics.median(json.loads(lines[-1])["images_per_s"][1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=os.path.abspath, help="folder of syncdr and syncdr-data")
    parser.add_argument("--encoder", choices=SETTINGS, default="small")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="DDP with torch.compile too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, help="of a run; at least two windows")
    parser.add_argument("--images", type=int, default=600, help="images of a domain")
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args()
    options.steps = options.steps or SETTINGS[options.encoder]["steps"]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        plain = "plain PyTorch DDP, local batch norm"
        sides = {"syncdr, local batch norm": lambda: bench.ours("local"), plain: bench.theirs}
        if options.compile:
            sides["the same with torch.compile"] = lambda: bench.theirs("--compile")
        sides["syncdr, global batch norm"] = lambda: bench.ours("global")
        figures = {name: [] for name in sides}
        for number in range(options.rounds):
            for name, measure in sides.items():
                figures[name].append(measure())
                print(f"round {number + 1}: {name}: {figures[name][-1]:.1f} images/s", flush=True)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, value in medians.items():
        print(f"{name:40} {value:8.1f} images/s  {value / medians[plain]:5.2f} x")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({**vars(options), "runs": figures, "medians": medians}, file, indent=2)


if __name__ == "__main__":
    main()
