#!/usr/bin/env bash
# usearch 2.26.6. Seen on 2026-11-29.
# Expected: an index of 4 dimensions with dtype="f32" that is given uint8 vectors (pixels, quantised features) stores those numbers, as it does for float32, or refuses them.
# Happens: uint8 is taken for packed bits. The first byte's bits become the vector, the rest is not read; that the row has 4 bytes and not 1 is not checked. A search by the
#   vector itself finds another one at distance 0.
# Matters: faiss, hnswlib and numpy take uint8 as numbers; descriptors, thumbnails and features saved as uint8 give an index that answers, by one byte of each vector.
# Source: usearch/index_plugins.hpp, cast_from_b1x8_gt; the Python binding takes numpy's uint8 for that kind.
. "$(dirname "$0")/common.sh"
python_packages usearch==2.26.6 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np
from usearch.index import Index
vectors = np.array([[200, 10, 30, 40], [201, 250, 250, 250], [40, 30, 10, 200]])
for dtype in "f4", "u1":
    index = Index(ndim=4, metric="l2sq", dtype="f32"); index.add(np.arange(3), vectors.astype(dtype))
    distances = {int(key): float(distance) for key, distance in zip(*(lambda found: (found.keys, found.distances))(index.search(vectors[0].astype(dtype), 3, exact=True)))}
    print(f"given as {np.dtype(dtype)}: it holds {[index.get(key).tolist() for key in range(3)]}, distances from the first {[distances[key] for key in range(3)]}")
E
observe python "$tmp/program.py"
verdict <<'E'
given as float32: it holds [[200.0, 10.0, 30.0, 40.0], [201.0, 250.0, 250.0, 250.0], [40.0, 30.0, 10.0, 200.0]], distances from the first [0.0, 150101.0, 52000.0]
given as uint8: it holds [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], distances from the first [0.0, 0.0, 3.0]
E
