#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.15.0.
# Expected: retrieval metrics look at the order of scores only: subtracting one number from all scores changes nothing.
# Happens: MAP, MRR, precision and recall take every document whose score is not above 0 for irrelevant, whatever the target says. NDCG does not,
#   so one table mixes two rules.
# Matters: cosine similarities, negative distances and log probabilities are below 0 as a matter of course: with negative distances as scores all four are 0 for a perfect ranking.
# Source: torchmetrics/functional/retrieval/average_precision.py, reciprocal_rank.py, precision.py, recall.py: they use target only where preds > 0.
. "$(dirname "$0")/common.sh"
python_packages torchmetrics==1.9.0 torch==2.15.0 numpy==2.4.6 ir-measures==0.4.3
cat > "$tmp/program.py" <<'E'
import torch, torchmetrics.retrieval as r
scores, target, query = torch.tensor([0.9, 0.7, 0.5, 0.3]), torch.tensor([True, True, False, False]), torch.zeros(4, dtype=torch.long)
for metric in r.RetrievalMAP(), r.RetrievalMRR(), r.RetrievalPrecision(top_k=2), r.RetrievalRecall(top_k=2), r.RetrievalNormalizedDCG():
    print(type(metric).__name__, [round(metric(scores - shift, target, indexes=query).item(), 3) for shift in (0., 0.8, 1.)], "for scores lowered by 0, 0.8, 1")
E
observe python "$tmp/program.py"
verdict <<'E'
RetrievalMAP [1.0, 1.0, 0.0] for scores lowered by 0, 0.8, 1
RetrievalMRR [1.0, 1.0, 0.0] for scores lowered by 0, 0.8, 1
RetrievalPrecision [1.0, 0.5, 0.0] for scores lowered by 0, 0.8, 1
RetrievalRecall [1.0, 0.5, 0.0] for scores lowered by 0, 0.8, 1
RetrievalNormalizedDCG [1.0, 1.0, 1.0] for scores lowered by 0, 0.8, 1
E
