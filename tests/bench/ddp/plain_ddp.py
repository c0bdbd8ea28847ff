"""The training of `syncdr train` said in plain PyTorch: DistributedDataParallel over gloo, a DataLoader that decodes the same PNG files out of the
same shards, torchvision's augmentations, the same encoder, losses, banks and optimizer. Started by torchrun; rank 0 prints one JSON line."""
import argparse
import glob
import json
import os
import time

import h5py
import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
import torch.nn.functional as F
from torch import nn
from torchvision.io import ImageReadMode, decode_image
from torchvision.models.resnet import BasicBlock, conv1x1, resnet50
from torchvision.transforms import v2


class SmallEncoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 5, 2, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        stages, channels = [], 32
        for width, stride in ((32, 1), (64, 2), (128, 2), (256, 2)):
            shortcut = nn.Sequential(conv1x1(channels, width, stride), nn.BatchNorm2d(width)) if stride > 1 or channels != width else None
            stages.append(BasicBlock(channels, width, stride, shortcut))
            channels = width
        self.stages, self.head, self.norm = nn.Sequential(*stages), nn.Linear(channels, dim), nn.BatchNorm1d(dim, affine=False)

    def forward(self, images):
        return F.normalize(self.norm(self.head(self.stages(self.stem(images)).mean((2, 3)))), dim=1)


class Photographs(nn.Module):
    """ResNet-50 with a linear head, as the paper's."""

    def __init__(self, dim):
        super().__init__()
        self.backbone = resnet50()
        self.backbone.fc = nn.Linear(2048, dim)

    def forward(self, images):
        return F.normalize(self.backbone(images), dim=1)


# What each bench trains: encoder, its width and views of an image.
SMALL = (SmallEncoder, 256, v2.Compose([v2.RandomAffine(10, translate=(0.08, 0.08), scale=(0.85, 1.15), interpolation=v2.InterpolationMode.BILINEAR),
                                        v2.RandomHorizontalFlip(0.5), v2.RandomGrayscale(0.7)]))
RESNET50 = (Photographs, 512, v2.Compose([v2.Resize((256, 256)), v2.RandomCrop(224), v2.RandomHorizontalFlip(0.5)]))


def read_rows(pattern):
    rows = []
    for path in sorted(glob.glob(pattern)):
        with h5py.File(path) as shard:
            offset, data = shard["image/offset"][:], shard["image/data"][:]
        rows += [data[a:b].copy() for a, b in zip(offset[:-1], offset[1:])]
    assert rows, pattern
    return rows


class Pairs(torch.utils.data.Dataset):
    """A domain's real images, then the translations into it; the counterpart is the other end of the translation."""

    def __init__(self, root, run, domain, other, augment):
        real = [read_rows(f"{root}/real/{name}/train-*.h5") for name in (domain, other)]
        made = [read_rows(f"{root}/synthetic/{a}-to-{b}/{run}/unit-*.h5") for a, b in ((domain, other), (other, domain))]
        self.images, self.counterparts, self.augment = real[0] + made[1], made[0] + real[1], augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        views = [self.augment(decode_image(torch.from_numpy(rows[index]), ImageReadMode.RGB)) for rows in (self.images, self.counterparts)]
        return index, *views


def batches(dataset, per_rank, options, seed):
    sampler = torch.utils.data.DistributedSampler(dataset, seed=seed, drop_last=True)
    loader = torch.utils.data.DataLoader(dataset, per_rank, sampler=sampler, drop_last=True, num_workers=options.workers,
                                         persistent_workers=options.workers > 0, prefetch_factor=4 if options.workers else None)
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def gather(tensor):
    """Rows of all ranks with gradients. The backward pass sums over ranks, as every rank has the whole loss; DDP then averages."""
    return torch.cat(dist_nn.all_gather(tensor)) if tensor.requires_grad else torch.cat(all_gather(tensor))


def all_gather(tensor):
    out = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(out, tensor)
    return out


def matching(features, bank, options):
    p = torch.softmax((features @ bank.T / 0.1).topk(min(options.top, len(bank)), sorted=False)[0], 1)
    return -(p * torch.log(p + 1e-5)).sum(1).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--translation", required=True)
    parser.add_argument("--domains", nargs=2, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--window", type=int, default=10)
    parser.add_argument("--encoder", choices=["small", "resnet50"], default="small")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--top", type=int, default=700)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    dist.init_process_group("gloo")
    ranks = dist.get_world_size()
    torch.manual_seed(0)

    network, dim, augment = RESNET50 if options.encoder == "resnet50" else SMALL
    a, b = options.domains
    sets = [Pairs(options.root, options.translation, a, b, augment), Pairs(options.root, options.translation, b, a, augment)]
    loaders = [batches(part, options.batch // ranks, options, seed) for seed, part in enumerate(sets)]
    encoder = network(dim).to(memory_format=torch.channels_last)
    model = nn.parallel.DistributedDataParallel(encoder)
    if options.compile:
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    banks = [F.normalize(torch.randn(len(part), dim), dim=1) for part in sets]
    for bank in banks:
        dist.broadcast(bank, 0)
    mean = 255 * torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = 255 * torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    rates, since, images = [], time.perf_counter(), 0
    for step in range(options.steps):
        (ids_a, a1, a2), (ids_b, b1, b2) = next(loaders[0]), next(loaders[1])
        inputs = torch.cat([a1, a2, b1, b2]).contiguous(memory_format=torch.channels_last).float().sub_(mean).div_(deviation)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            features = model(inputs)
        f_a, c_a, f_b, c_b = (gather(part) for part in features.float().split([len(a1), len(a2), len(b1), len(b2)]))
        ids = [gather(ids_a), gather(ids_b)]
        loss = 0.5 * (F.cross_entropy(f_a @ banks[0].T / 0.1, ids[0]) + F.cross_entropy(f_b @ banks[1].T / 0.1, ids[1]))
        loss = loss + 0.1 * (matching(f_b, banks[0], options) + matching(f_a, banks[1], options))
        for f, c in ((f_a, c_a), (f_b, c_b)):
            loss = loss + 0.5 * F.cross_entropy(c @ f.T / 0.1, torch.arange(len(f)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for bank, index, f in zip(banks, ids, (f_a, f_b)):
                bank[index] = F.normalize(0.5 * bank[index] + 0.5 * f, dim=1)
        images += len(inputs) * ranks
        if (step + 1) % options.window == 0:
            value = loss.item()
            assert np.isfinite(value)
            now = time.perf_counter()
            rates.append(images / (now - since))
            since, images = now, 0
    if dist.get_rank() == 0:
        print(json.dumps({"images_per_s": rates, "loss": value}), flush=True)
    dist.barrier()
    dist.destroy_process_group()


main()
