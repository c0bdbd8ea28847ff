#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0, torch 2.15.0. Seen on 2026-11-30.
# Expected: AccuracyCalculator compares integer labels as integers: renaming the classes changes no metric.
# Happens: it makes float32 of the labels, and above 16777216 neighbouring ones become one class: around 1000000000 every 64 become one. Random features of 1000 items with
#   two pictures each then have a precision at 1 of 0.06 instead of 0.00, and those of 30 items are perfect. Nothing warns.
# Matters: instance retrieval is labelled by long numbers (product, catalogue or track ids, hashes): the reported precision and MAP@R are too high, the more the denser the ids.
# Source: pytorch_metric_learning/utils/accuracy_calculator.py, get_accuracy (type(torch.float) for embeddings and labels alike).
. "$(dirname "$0")/common.sh"
python_packages pytorch-metric-learning==2.9.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
calculator = AccuracyCalculator(include=("precision_at_1", "mean_average_precision_at_r"), device=torch.device("cpu"), knn_func=CustomKNN(CosineSimilarity()))
for items, pictures in (1000, 2), (30, 20):
    torch.manual_seed(0)
    features = torch.randn(items * pictures, 32)
    for first in 1, 16_000_001, 100_000_001, 1_000_000_001:
        scores = calculator.get_accuracy(features, first + torch.arange(items).repeat(pictures))
        print(f"{items} items with {pictures} pictures, ids from {first}:", {name: round(score, 2) for name, score in scores.items()})
E
observe python "$tmp/program.py"
verdict <<'E'
1000 items with 2 pictures, ids from 1: {'mean_average_precision_at_r': 0.0, 'precision_at_1': 0.0}
1000 items with 2 pictures, ids from 16000001: {'mean_average_precision_at_r': 0.0, 'precision_at_1': 0.0}
1000 items with 2 pictures, ids from 100000001: {'mean_average_precision_at_r': 0.0, 'precision_at_1': 0.01}
1000 items with 2 pictures, ids from 1000000001: {'mean_average_precision_at_r': 0.01, 'precision_at_1': 0.06}
30 items with 20 pictures, ids from 1: {'mean_average_precision_at_r': 0.01, 'precision_at_1': 0.04}
30 items with 20 pictures, ids from 16000001: {'mean_average_precision_at_r': 0.01, 'precision_at_1': 0.04}
30 items with 20 pictures, ids from 100000001: {'mean_average_precision_at_r': 0.06, 'precision_at_1': 0.21}
30 items with 20 pictures, ids from 1000000001: {'mean_average_precision_at_r': 1.0, 'precision_at_1': 1.0}
E
