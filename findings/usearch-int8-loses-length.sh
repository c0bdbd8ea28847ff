#!/usr/bin/env bash
# usearch 2.26.6. Seen on 2026-11-29.
# Expected: dtype="i8" stores each vector in a quarter of the memory: the order of inner products and distances stays, up to rounding, or a vector out of range is refused.
# Happens: each vector is scaled to length 127 first, whatever its own length. With metric "ip" the long vector that won comes last, with "l2sq" the far point [3, 0] is next to
#   [1, 0]. Distances come in the units of the int8 numbers, and int8 input is divided by 127 where the index holds floats.
# Matters: a gallery of features that are not unit vectors, or a memory bank whose length carries confidence, is searched by cosine, while the index reports ip or l2sq.
#   Thresholds tuned on a float index mean nothing.
# Source: usearch/index_plugins.hpp, cast_to_i8_gt divides by the vector's magnitude (a comment there advises against it for other metrics than dot products).
. "$(dirname "$0")/common.sh"
python_packages usearch==2.26.6 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np
from usearch.index import Index
gallery, query = np.array([[1, 0], [3, 3], [.5, .125], [3, 0]], "f"), np.array([1, 0], "f")
for metric in "ip", "l2sq":
    for dtype in "f32", "i8":
        index = Index(ndim=2, metric=metric, dtype=dtype); index.add(np.arange(4), gallery)
        found = index.search(query, 4, exact=True)
        print(f"{metric}, {dtype}:", ", ".join(f"{gallery[key].tolist()} at {distance:.2f}" for key, distance in sorted(zip(found.keys, found.distances), key=lambda pair: (pair[1], pair[0]))))
index = Index(ndim=4, metric="l2sq", dtype="f32"); index.add(0, np.array([127, 0, 0, -127], "i1"))
print("int8 input [127, 0, 0, -127], kept as f32:", index.get(0).tolist())
E
observe python "$tmp/program.py"
verdict <<'E'
ip, f32: [3.0, 3.0] at -2.00, [3.0, 0.0] at -2.00, [1.0, 0.0] at 0.00, [0.5, 0.125] at 0.50
ip, i8: [1.0, 0.0] at -16128.00, [3.0, 0.0] at -16001.00, [0.5, 0.125] at -15620.00, [3.0, 3.0] at -11302.00
l2sq, f32: [1.0, 0.0] at 0.00, [0.5, 0.125] at 0.27, [3.0, 0.0] at 4.00, [3.0, 3.0] at 13.00
l2sq, i8: [1.0, 0.0] at 0.00, [3.0, 0.0] at 1.00, [0.5, 0.125] at 916.00, [3.0, 3.0] at 9365.00
int8 input [127, 0, 0, -127], kept as f32: [1.0, 0.0, 0.0, -1.0]
E
