#!/usr/bin/env bash
# usearch 2.26.6. Seen on 2026-11-29.
# Expected: where fewer vectors are found than were asked for, a batch of queries answers as one query does (which returns the ones found), or pads with a mark like faiss's -1.
# Happens: keys of a batch are padded with 0, a key like any other: here no vector of that key exists at all. Distances there are NaN. Only the separate counts tell.
# Matters: with a small gallery, a filter or after removals, document 0 is counted as found in every list: recall of the queries that look for document 0 becomes perfect.
# Source: usearch/python/lib.cpp and usearch/index.py, BatchMatches.
. "$(dirname "$0")/common.sh"
python_packages usearch==2.26.6 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np
from usearch.index import Index
index = Index(ndim=4, metric="l2sq", dtype="f32"); index.add(np.array([11, 12]), np.diag([1, 2, 3, 4]).astype("f")[:2])
queries = np.diag([1, 2, 3, 4]).astype("f")[:2]
print("key 0 is in the index:", index.contains(0))
print("one query, 5 asked for:", index.search(queries[0], 5).keys.tolist())
found = index.search(queries, 5)
print("two queries:", found.keys.tolist(), "counts", found.counts.tolist(), "distances", found.distances[0].tolist())
E
observe python "$tmp/program.py"
verdict <<'E'
key 0 is in the index: False
one query, 5 asked for: [11, 12]
two queries: [[11, 12, 0, 0, 0], [12, 11, 0, 0, 0]] counts [2, 2] distances [0.0, 5.0, nan, nan, nan]
E
