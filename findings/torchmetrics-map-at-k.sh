#!/usr/bin/env bash
# torchmetrics 1.9.0 (torch 2.15.0) beside ir-measures 0.4.3 (pytrec_eval). Seen on 2026-11-29.
# Expected: RetrievalMAP(top_k=k) is AP@k: divided by the number of relevant documents, or by the smaller of that and k. Finding one more relevant document cannot lower it.
# Happens: it is divided by the number of hits within the first k. One hit at rank 1 and none besides is a perfect 1, and another hit further down lowers it.
# Matters: with several relevant images per query, as in category retrieval, a worse model gets a higher MAP@k, and figures cannot be compared with other libraries'.
# Source: torchmetrics/functional/retrieval/average_precision.py: the mean over the positions of hits.
. "$(dirname "$0")/common.sh"
python_packages torchmetrics==1.9.0 torch==2.15.0 numpy==2.4.6 ir-measures==0.4.3
cat > "$tmp/program.py" <<'E'
import torch, ir_measures
from torchmetrics.retrieval import RetrievalMAP
scores = torch.tensor([.9, .8, .7, .6, .5, .4, .3, .2])
for target in ([1, 0, 0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 1, 0, 1, 1], [0, 1, 1, 1, 1, 0, 0, 0]):
    ours = RetrievalMAP(top_k=5)(scores, torch.tensor(target).bool(), indexes=torch.zeros(8, dtype=torch.long)).item()
    theirs = ir_measures.calc_aggregate([ir_measures.AP @ 5], {"q": {f"d{i}": t for i, t in enumerate(target)}}, {"q": {f"d{i}": s for i, s in enumerate(scores.tolist())}})
    print(f"relevant by rank {target}: MAP@5 {ours:.3f}, ir-measures {list(theirs.values())[0]:.3f}")
E
observe python "$tmp/program.py"
verdict <<'E'
relevant by rank [1, 0, 0, 0, 0, 1, 1, 1]: MAP@5 1.000, ir-measures 0.250
relevant by rank [1, 0, 0, 0, 1, 0, 1, 1]: MAP@5 0.700, ir-measures 0.350
relevant by rank [0, 1, 1, 1, 1, 0, 0, 0]: MAP@5 0.679, ir-measures 0.679
E
