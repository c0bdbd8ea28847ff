#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.15.0. Seen on 2026-11-30.
# Expected: AUROC and average precision of cosine similarities depend on their order alone, not on how they were cut into batches.
# Happens: update puts a batch through the sigmoid if one of its scores lies outside [0, 1], each batch for itself. A batch without a negative score stays as it is: its 0.3 then ranks
#   below the 0.5 of a similarity of 0 elsewhere. Here an AUROC of 0.858 becomes 0.842 in batches of 4, and 0.717 if the pairs come sorted.
# Matters: small last batches, batches of one query and sorted lists of hits give lower figures, others for each batch size and number of ranks.
# Source: torchmetrics/functional/classification/precision_recall_curve.py: normalize_logits_if_needed in each update; the documentation tells of the sigmoid, not of batches.
. "$(dirname "$0")/common.sh"
python_packages torchmetrics==1.9.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision
random = torch.Generator().manual_seed(0)
scores = torch.rand(1000, generator=random) * 2 - 1
relevant = (torch.rand(1000, generator=random) < torch.sigmoid(3 * scores)).long()
def measure(metric, size, order):
    for part in order.split(size): metric.update(scores[part], relevant[part])
    return f"{metric.compute():.3f}"
for kind in BinaryAUROC, BinaryAveragePrecision:
    for what, order in ("as drawn", torch.arange(1000)), ("best first", scores.argsort(descending=True)):
        print(f"{kind.__name__}, {what}:", ", ".join(f"batches of {size} {measure(kind(), size, order)}" for size in (1000, 100, 4, 1)))
E
observe python "$tmp/program.py"
verdict <<'E'
BinaryAUROC, as drawn: batches of 1000 0.858, batches of 100 0.858, batches of 4 0.842, batches of 1 0.711
BinaryAUROC, best first: batches of 1000 0.858, batches of 100 0.717, batches of 4 0.711, batches of 1 0.711
BinaryAveragePrecision, as drawn: batches of 1000 0.847, batches of 100 0.847, batches of 4 0.841, batches of 1 0.771
BinaryAveragePrecision, best first: batches of 1000 0.847, batches of 100 0.774, batches of 4 0.771, batches of 1 0.771
E
