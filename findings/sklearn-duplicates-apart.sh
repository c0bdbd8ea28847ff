#!/usr/bin/env bash
# scikit-learn 1.9.1, numpy 2.4.6. Seen on 2026-11-30.
# Expected: equal vectors are at distance 0 for NearestNeighbors and DBSCAN, so that a small radius finds all exact duplicates.
# Happens: the brute-force search, the automatic choice above 15 dimensions, computes |x|^2 - 2xy + |y|^2, and most equal vectors are up to 6e-7 apart, in float64 too. A radius of 1e-9
#   finds 40 % of the pairs in float32; DBSCAN with it calls most duplicates noise. kd_tree gives 0.
# Matters: deduplication by a tiny radius leaves duplicates in; which ones depends on their values. A radius of 1e-6 of the vectors' length is needed.
# Source: sklearn/metrics/_pairwise_distances_reduction; the note on rounding is in euclidean_distances' documentation only.
. "$(dirname "$0")/common.sh"
python_packages scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors
for dtype in "float32", "float64":
    once = np.random.default_rng(0).standard_normal((300, 128)).astype(dtype)
    twice = np.concatenate([once, once])
    for algorithm in "auto", "kd_tree":
        search = NearestNeighbors(algorithm=algorithm).fit(twice)
        found = [len(ids) for ids in search.radius_neighbors(once, 1e-9, return_distance=False)]
        noise = (DBSCAN(eps=1e-9, min_samples=2, algorithm=algorithm).fit_predict(twice) == -1).mean()
        print(f"{dtype}, {algorithm} ({search._fit_method}): farthest pair of equal vectors between 1e-7 and 1e-6: {1e-7 < search.kneighbors(once, 2)[0].max() < 1e-6},"
              f" a radius of 1e-9 misses more than a tenth: {np.mean(found) < 1.8}, DBSCAN calls more than a tenth noise: {noise > 0.1}")
E
observe python "$tmp/program.py"
verdict <<'E'
float32, auto (brute): farthest pair of equal vectors between 1e-7 and 1e-6: True, a radius of 1e-9 misses more than a tenth: True, DBSCAN calls more than a tenth noise: True
float32, kd_tree (kd_tree): farthest pair of equal vectors between 1e-7 and 1e-6: False, a radius of 1e-9 misses more than a tenth: False, DBSCAN calls more than a tenth noise: False
float64, auto (brute): farthest pair of equal vectors between 1e-7 and 1e-6: True, a radius of 1e-9 misses more than a tenth: True, DBSCAN calls more than a tenth noise: True
float64, kd_tree (kd_tree): farthest pair of equal vectors between 1e-7 and 1e-6: False, a radius of 1e-9 misses more than a tenth: False, DBSCAN calls more than a tenth noise: False
E
