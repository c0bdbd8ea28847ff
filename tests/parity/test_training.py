"""`syncdr train` beside a plain PyTorch statement of the method: timm's ResNet-18 and a linear head from the same weights, the same batches, no
augmentation. The statement reads the shards with h5py and knows of the project nothing but the format of shards and which entries are in which batch.

In double precision: a rounding grows about tenfold a step in so small a training (ReLUs and the choice of the nearest rows switch), so that float runs
that agree to 1e-7 in the first step differ in the fourth."""
import io
import json
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import PIL.Image
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from probe import BIN, probe

SIZE, DIM, STEPS, SEED = 32, 32, 20, 3
TEMPERATURE, PAIR_TEMPERATURE, TOP = 0.1, 0.5, 12
MATCHING_WEIGHT, PAIR_WEIGHT = 1.0, 0.5
RATE, MOMENTUM, DECAY = 3e-3, 0.9, 5e-4

CONFIG = f"""
seed = {SEED}
[run]
arms = ["cds", "filter"]
main = "filter"
[comm]
threads = 1
[translate]
translator = "filter"
size = {SIZE}
unit_rows = 16
[train]
epochs = {STEPS}
batch = 8
temperature = {TEMPERATURE}
pair_temperature = {PAIR_TEMPERATURE}
matching_top = {TOP}
matching_weight = {MATCHING_WEIGHT}
pair_weight = {PAIR_WEIGHT}
log_every = 1
precision = "fp64"
validate_every = 1000
encoder = {{ name = "resnet18", dim = {DIM} }}
optimizer = {{ name = "sgd", learning_rate = {RATE}, momentum = {MOMENTUM}, weight_decay = {DECAY} }}
augment = {{ resize = {SIZE}, crop = {SIZE}, flip = 0.0 }}
"""


def draw_pictures(folder):
    """Six categories in two looks; 7 and 5 pictures each, so that the domains differ in length."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    for domain, count in (("photo", 7), ("sketch", 5)):
        for category in range(6):
            for index in range(count):
                wave = np.sin((x * np.cos(category) + y * np.sin(category)) / (3 + category) + random.uniform(0, 6))
                grey = 127 + 100 * wave if domain == "photo" else np.where(np.abs(wave) < 0.2, 0, 255)
                pixels = np.stack([grey, grey * (0.5 if domain == "photo" else 1), grey], 2) + random.normal(0, 4, (SIZE, SIZE, 3))
                place = folder / domain / f"category-{category}" / f"{index}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place)


def pictures(folder, pattern):
    """All images of a split's or a translation's shards, [N, 3, S, S] normalised, and of a translation which source row each was made from."""
    images, rows = [], []
    for file in sorted(folder.glob(pattern)):
        with h5py.File(file) as shard:
            offset, data = shard["image/offset"][:], shard["image/data"][:]
            for first, last in zip(offset, offset[1:]):
                pixels = np.asarray(PIL.Image.open(io.BytesIO(data[first:last].tobytes())).convert("RGB"))
                images.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1).float())
            rows += list(shard["source/row"][:]) if "source" in shard else []
    mean = 255 * torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = 255 * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return ((torch.stack(images) - mean) / deviation).double(), torch.tensor(rows, dtype=torch.long)


class Domain:
    """A domain's training set: its images, then the other's translated into it; `images[i]` belongs to `counterparts[i]`."""

    def __init__(self, root, name, other, run):
        real, _ = pictures(root / "real" / name, "train-*.h5")
        if not run:
            self.images, self.counterparts = real, None
            return
        other_real, _ = pictures(root / "real" / other, "train-*.h5")
        away, away_rows = pictures(root / "synthetic" / f"{name}-to-{other}" / run, "unit-*.h5")
        into, into_rows = pictures(root / "synthetic" / f"{other}-to-{name}" / run, "unit-*.h5")
        assert sorted(away_rows.tolist()) == list(range(len(real))) and sorted(into_rows.tolist()) == list(range(len(other_real)))
        self.images = torch.cat([real, into[into_rows.argsort()]])
        self.counterparts = torch.cat([away[away_rows.argsort()], other_real])


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = timm.create_model("resnet18", num_classes=0)
        self.head = torch.nn.Linear(512, DIM)

    def forward(self, images):
        return F.normalize(self.head(self.backbone(images)), dim=1)


def batches(domain, batch, stream, epoch):
    given = {"size": len(domain.images), "batch": batch, "seed": SEED, "stream": stream, "epoch": epoch}
    return probe("batch_order", {name: torch.tensor(value) for name, value in given.items()})["entries"]


def entropy(logits):
    p = logits.topk(min(TOP, logits.shape[1]))[0].softmax(1)
    return -(p * (p + 1e-5).log()).sum(1).mean()


def train(domains, weights):
    """-> [STEPS][loss, instance, matching, pairs]"""
    encoder = Encoder()
    encoder.load_state_dict(load_file(weights))
    encoder.double().eval()
    with torch.no_grad():
        banks = [torch.cat([encoder(part) for part in domain.images.split(16)]) for domain in domains]
    encoder.train()
    optimizer = torch.optim.SGD(encoder.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    shorter = min(len(domain.images) for domain in domains)
    sizes = [round(8 * len(domain.images) / shorter) for domain in domains]
    per_epoch = min(len(domain.images) // size for domain, size in zip(domains, sizes))
    losses, step = [], 0
    while step < STEPS:
        order = [batches(domain, size, k, step // per_epoch) for k, (domain, size) in enumerate(zip(domains, sizes))]
        for at in range(min(per_epoch, STEPS - step)):
            ids = [entries[at] for entries in order]
            # All images of a step go through the encoder together: batch normalisation sees both domains and their counterparts.
            parts = [part[i] for domain, i in zip(domains, ids) for part in (domain.images, domain.counterparts) if part is not None]
            features = list(encoder(torch.cat(parts)).split([len(part) for part in parts]))
            f = [features.pop(0), None]
            pairs = [features.pop(0)] if domains[0].counterparts is not None else []
            f[1] = features.pop(0)
            pairs += features
            instance = sum(F.cross_entropy(f[k] @ banks[k].T / TEMPERATURE, ids[k]) for k in (0, 1)) / 2
            matching = sum(entropy(f[k] @ banks[1 - k].T / TEMPERATURE) for k in (0, 1))
            pair = sum(F.cross_entropy(pairs[k] @ f[k].T / PAIR_TEMPERATURE, torch.arange(len(ids[k]))) for k in range(len(pairs)))
            loss = instance + MATCHING_WEIGHT * matching + PAIR_WEIGHT * pair
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for k in (0, 1):
                banks[k][ids[k]] = F.normalize(0.5 * banks[k][ids[k]] + 0.5 * f[k].detach(), dim=1)
            losses.append([float(value.detach()) if isinstance(value, torch.Tensor) else value for value in (loss, instance, matching, pair)])
            step += 1
    return losses


def syncdr(*command):
    finished = subprocess.run([BIN / command[0], *map(str, command[1:])], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def main():
    torch.manual_seed(7)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        draw_pictures(folder / "pictures")
        data, config, weights = folder / "data", folder / "plain.toml", folder / "weights.safetensors"
        syncdr("syncdr-data", "pack", folder / "pictures", "-o", data)
        config.write_text(CONFIG)
        encoder = Encoder()
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # statistics as of a pretrained network: the first rows of the banks depend on them
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        save_file(encoder.state_dict(), weights)
        settings = ["--set", f"data.root={data}", "--set", f"train.encoder.weights={weights}", "--set", f"run.out={folder / 'run'}"]
        syncdr("syncdr", "translate", config, *settings)
        bad = 0
        for arm, run in (("cds", ""), ("filter", "run-filter")):
            domains = [Domain(data, "photo", "sketch", run), Domain(data, "sketch", "photo", run)]
            per_epoch = min(len(domain.images) for domain in domains) // 8
            syncdr("syncdr", "train", config, *settings, "--arm", arm, "--set", f"train.epochs={-(-STEPS // per_epoch)}")
            log = [json.loads(line) for line in (folder / "run" / "train" / arm / "log.jsonl").read_text().splitlines()]
            ours = [[line[key] for key in ("loss", "loss_id", "loss_cdm", "loss_ppp")] for line in log if "loss" in line][:STEPS]
            theirs = train(domains, weights)
            for step, (our, their) in enumerate(zip(ours, theirs, strict=True), 1):
                error = max(abs(a - b) / max(1e-3, abs(b)) for a, b in zip(our, their))
                good = error <= 1e-9
                bad += not good
                print(f"{'ok  ' if good else 'BAD '} {arm}, step {step}: losses {np.round(our, 4)}, relative difference {error:.1e} (at most 1e-09)", flush=True)
        sys.exit(f"{bad} steps differ" if bad else 0)


main()
