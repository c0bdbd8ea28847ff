"""A head trained on kept features beside the whole network, ResNet-50 at 224 pixels from JPEG files of 500 pixels, batch and losses alike, on this machine's CPU.

    python tests/bench/bench_head.py build/release/bin --rounds 3 [--ranks 2]

With the Python beside LibTorch's wheel. Runs alternate. A run's figure is the median over its windows of steps without the first; what the features cost
once, before a head's first step, is told beside it."""
import argparse
import os
import statistics
import sys
import tempfile
import time

import safetensors.torch
import torchvision

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "ddp"))
from bench_train_vs_ddp import SETTINGS, Bench  # noqa: E402

WHOLE = SETTINGS["resnet50"]


class Side(Bench):
    def __init__(self, bench, encoder, steps, window, *settings):
        self.__dict__.update(vars(bench))
        self.options = argparse.Namespace(**{**vars(bench.options), "steps": steps})
        self.settings = {**WHOLE, "encoder": encoder, "window": window}
        self.arguments = settings

    def syncdr(self, command, *more, **named):
        return super().syncdr(command, *more, *self.arguments, **named)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=os.path.abspath, help="folder of syncdr and syncdr-data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--images", type=int, default=64, help="images of a domain")
    options = parser.parse_args()
    options.encoder, options.precision, options.steps = "resnet50", "fp32", 1
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        weights = os.path.join(folder, "resnet50.safetensors")
        safetensors.torch.save_file(torchvision.models.resnet50(weights=None).state_dict(), weights)
        encoder = f'{WHOLE["encoder"]}, weights = "{weights}"'
        sides = {"head": Side(bench, f'{encoder}, train = "head"', 400, 20, "--set", "train.kept_views=1"), "whole": Side(bench, encoder, 6, 2)}
        rates = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, side in sides.items():
                start = time.monotonic()
                rates[name].append(side.ours("local"))
                print(f"{name}: {rates[name][-1]:.1f} images/s, the command {time.monotonic() - start:.0f} s", flush=True)
    middle = {name: statistics.median(of_runs) for name, of_runs in rates.items()}
    print(f"head {middle['head']:.0f} images/s, whole {middle['whole']:.2f}: {middle['head'] / middle['whole']:.0f} x")


if __name__ == "__main__":
    main()
