#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.15.0. Seen on 2026-11-30.
# Expected: the SSIM of a pair of images does not depend on the others of its batch, and its mean over a set not on the batch size.
# Happens: without data_range, which may be left out, the range is the largest of the whole batch of predictions or targets ("determined from the image (max - min)"): a dark pair has
#   another SSIM beside a bright one, and the mean over the same 32 pairs changes with the batch size. MultiScaleSSIM does the same.
# Matters: reported values differ with the batch size, the order and the number of ranks, and single images' values with their neighbours. PSNR asks for data_range.
# Source: torchmetrics/functional/image/ssim.py, _ssim_update (preds.max() - preds.min() over the batch).
. "$(dirname "$0")/common.sh"
python_packages torchmetrics==1.9.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure, StructuralSimilarityIndexMeasure
torch.manual_seed(0)
brightness = torch.linspace(0.05, 1, 32)[torch.randperm(32)].view(32, 1, 1, 1)
images = torch.nn.functional.interpolate(torch.rand(32, 1, 12, 12), 192, mode="bilinear") * brightness
noisy = (images + 0.02 * torch.randn_like(images)).clamp(0, 1)
for metric in StructuralSimilarityIndexMeasure, MultiScaleStructuralSimilarityIndexMeasure:
    for options in {}, {"data_range": 1.0}:
        means = {}
        for size in 1, 2, 32:
            measure = metric(**options)
            for start in range(0, 32, size): measure.update(noisy[start:start + size], images[start:start + size])
            means[size] = round(measure.compute().item(), 2)
        print(f"{metric.__name__}({options}): mean over 32 pairs by batch size: {means}")
dark, bright = brightness.flatten().argmin().item(), brightness.flatten().argmax().item()
for name, rows in ("alone", [dark]), ("beside a bright pair", [dark, bright]):
    print(f"the darkest pair {name}: {StructuralSimilarityIndexMeasure(reduction='none')(noisy[rows], images[rows]).flatten()[0].item():.2f}")
E
observe python "$tmp/program.py"
verdict <<'E'
StructuralSimilarityIndexMeasure({}): mean over 32 pairs by batch size: {1: 0.61, 2: 0.69, 32: 0.8}
StructuralSimilarityIndexMeasure({'data_range': 1.0}): mean over 32 pairs by batch size: {1: 0.8, 2: 0.8, 32: 0.8}
MultiScaleStructuralSimilarityIndexMeasure({}): mean over 32 pairs by batch size: {1: 0.93, 2: 0.95, 32: 0.98}
MultiScaleStructuralSimilarityIndexMeasure({'data_range': 1.0}): mean over 32 pairs by batch size: {1: 0.98, 2: 0.98, 32: 0.98}
the darkest pair alone: 0.06
the darkest pair beside a bright pair: 0.74
E
