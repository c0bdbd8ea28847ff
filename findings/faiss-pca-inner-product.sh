#!/usr/bin/env bash
# faiss-cpu 1.15.1. Seen on 2026-11-29.
# Expected: "PCA64,Flat" on vectors of 64 dimensions is a rotation: inner products, and so the ranking, stay. With fewer dimensions both are close.
# Happens: the vectors' mean is taken off queries and gallery first. With L2 nothing changes by that, inner products become others: on features that are not negative, as
#   those after a ReLU and a mean over the picture, seven of the first 10 are other ones, and the scores are no cosines any more. "RR64", a random
#   rotation, keeps all.
# Matters: a gallery made smaller by PCA for speed ranks otherwise than the measured model, and looks like loss by compression. Thresholds on the score mean something else.
# Source: faiss/VectorTransform.cpp, PCAMatrix::prepare_Ab: the bias is -A * mean.
. "$(dirname "$0")/common.sh"
python_packages faiss-cpu==1.15.1 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import faiss, numpy as np
vectors = np.abs(np.random.default_rng(0).normal(size=(4000, 64))).astype("f")
for metric in faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT:
    exact = faiss.IndexFlat(64, metric); exact.add(vectors)
    for description in "RR64,Flat", "PCA64,Flat":
        index = faiss.index_factory(64, description, metric); index.train(vectors); index.add(vectors)
        (_, truth), (scores, found) = exact.search(vectors[:300], 10), index.search(vectors[:300], 10)
        print(f"{'L2' if metric == faiss.METRIC_L2 else 'inner product'}, {description}: the first 10 are the same ones by {100 * np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found)]):.0f} %")
E
observe python "$tmp/program.py"
verdict <<'E'
L2, RR64,Flat: the first 10 are the same ones by 100 %
L2, PCA64,Flat: the first 10 are the same ones by 100 %
inner product, RR64,Flat: the first 10 are the same ones by 100 %
inner product, PCA64,Flat: the first 10 are the same ones by 29 %
E
