"""Training images per second of a head on kept features beside training of the whole network, by `syncdr train`, on this machine's CPU.

    python tests/bench/ddp/bench_head_vs_whole.py build/release/bin --rounds 3 [--encoder tf_efficientnet_lite0]

With the Python beside LibTorch's wheel. The encoder has timm's random weights, the pictures are JPEG files of 500 pixels, the filter's translations are the
pairs; one rank with one compute thread and one loader thread. Runs alternate. A run's figure is the median over its windows without the first; computing
the kept features, once before the training, is told apart."""
import argparse
import json
import os
import shutil
import statistics
import tempfile

import safetensors.torch
import timm
import torch

from bench_train_vs_ddp import draw_pictures, run

CONFIG = """
[run]
out = "{folder}/run"
[data]
root = "{folder}/data"
domains = ["colour", "ink"]
[comm]
device = "cpu"
threads = 1
[translate]
translator = "filter"
run = "filter"
size = 224
[train]
images = {images}
batch = 16
log_every = {window}
loader_threads = 1
kept_views = 2
kept_folder = "{folder}/features"
validate_every = 1000000
checkpoint_every = 1000000
encoder = {{ name = "{encoder}", dim = 512, weights = "{folder}/weights.safetensors", train = "{train}" }}
augment = {{ resize = 256, crop = 224 }}
"""


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        draw_pictures(os.path.join(folder, "pictures"), options.images, 500, "jpeg")
        run([os.path.join(options.bin, "syncdr-data"), "pack", f"{folder}/pictures", "-o", f"{folder}/data", "--no-disjoint"])
        torch.manual_seed(0)
        safetensors.torch.save_file(timm.create_model(options.encoder).state_dict(), f"{folder}/weights.safetensors")
        self.syncdr("translate", "head", 0, 1)
        self.train("head")  # computes the kept features

    def syncdr(self, command, train, images, window, *more):
        with open(f"{self.folder}/bench.toml", "w") as file:
            file.write(CONFIG.format(folder=self.folder, images=images, window=window, encoder=self.options.encoder, train=train))
        run([os.path.join(self.options.bin, "syncdr"), command, f"{self.folder}/bench.toml", *more])

    def train(self, train):
        shutil.rmtree(f"{self.folder}/run/train", ignore_errors=True)
        steps, window = (4000, 500) if train == "head" else (12, 3)
        self.syncdr("train", train, 4 * 16 * steps, window, "--arm", "filter")
        with open(f"{self.folder}/run/train/filter/log.jsonl") as file:
            rates = [line["images_per_second"] for line in map(json.loads, file) if "images_per_second" in line]
        return statistics.median(rates[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=os.path.abspath, help="folder of syncdr and syncdr-data")
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=64, help="images of a domain")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        figures = {"whole": [], "head": []}
        for number in range(options.rounds):
            for train, rates in figures.items():
                rates.append(bench.train("all" if train == "whole" else "head"))
                print(f"round {number + 1}: {train}: {rates[-1]:.1f} images/s", flush=True)
    ratios = [head / whole for head, whole in zip(figures["head"], figures["whole"])]
    print(f"head on kept features / whole network: {statistics.median(ratios):.0f} x ({min(ratios):.0f} to {max(ratios):.0f})")


if __name__ == "__main__":
    main()
