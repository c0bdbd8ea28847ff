#!/usr/bin/env bash
# faiss-cpu 1.15.1, scipy 1.17.1. Seen on 2026-11-30.
# Expected: METRIC_Canberra and METRIC_JensenShannon are scipy's: a coordinate that is 0 in both vectors adds 0, and a vector is at distance 0 from itself.
# Happens: such a coordinate is NaN, and a vector with NaN is never found. Rows of nonnegative features with zeros do not find themselves, and searches come back with -1 for neighbours
#   that exist. METRIC_Lp takes its exponent from metric_arg, which is 0: all distances are the number of dimensions.
# Matters: these metrics are meant for histograms and sparse features, where most rows have zeros: recall drops to what happens to have none in common.
# Source: faiss/utils/extra_distances-inl.h.
. "$(dirname "$0")/common.sh"
python_packages faiss-cpu==1.15.1 scipy==1.17.1 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import faiss, numpy as np
from scipy.spatial.distance import cdist
rows = np.array([[.5, .5, 0, 0], [.5, .25, .25, 0], [.25, .25, .25, .25], [0, 0, .5, .5]], "f")
for name, scipys in ("Canberra", "canberra"), ("JensenShannon", "jensenshannon"), ("BrayCurtis", "braycurtis"), ("Lp", "minkowski"):
    index = faiss.IndexFlat(4, getattr(faiss, f"METRIC_{name}")); index.add(rows)
    distances, ids = index.search(rows[:1], 4)
    print(f"{name}, neighbours of row 0: {ids[0].tolist()}, distances {sorted(set(distances[0][ids[0] >= 0].round(3).tolist()))}; scipy {cdist(rows[:1], rows, scipys)[0].argsort(kind='stable').tolist()}")
index.metric_arg = 2
print("Lp with metric_arg 2:", index.search(rows[:1], 4)[1][0].tolist())
E
observe python "$tmp/program.py"
verdict <<'E'
Canberra, neighbours of row 0: [2, 3, -1, -1], distances [2.6670000553131104, 4.0]; scipy [0, 1, 2, 3]
JensenShannon, neighbours of row 0: [-1, -1, -1, -1], distances []; scipy [0, 1, 2, 3]
BrayCurtis, neighbours of row 0: [0, 1, 2, 3], distances [0.0, 0.25, 0.5, 1.0]; scipy [0, 1, 2, 3]
Lp, neighbours of row 0: [0, 1, 2, 3], distances [4.0]; scipy [0, 1, 2, 3]
Lp with metric_arg 2: [0, 1, 2, 3]
E
