#!/usr/bin/env bash
# usearch 2.26.6. Seen on 2026-11-29.
# Expected: an index with multi=True keeps several vectors per key (crops of one image, views of one object), and get returns them as they were added.
# Happens: with dtype="bf16", which is what Index picks by default, get returns rows put together from halves of different vectors; the last half is never written.
#   With f32 and f16 they are right.
# Matters: features read back for re-ranking or for a class mean are those of no image, without an error. A search in the same index is right, which hides it.
# Source: python/lib.cpp, get_typed_vectors_for_keys: bf16 is the one type here that is handed out as another, float32.
. "$(dirname "$0")/common.sh"
python_packages usearch==2.26.6 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np
from usearch.index import Index
print("the default dtype:", Index(ndim=4).dtype)
for dtype in "f32", "f16", "bf16":
    index = Index(ndim=4, metric="l2sq", dtype=dtype, multi=True)
    index.add(1, np.array([1, 2, 3, 4], "f")); index.add(1, np.array([5, 6, 7, 8], "f"))
    rows = index.get(1)
    print(f"{dtype}: [1, 2, 3, 4] and [5, 6, 7, 8] come back as {rows[0].tolist()} and {rows[1, :2].tolist()}...; distance of [5, 6, 7, 8] {index.search(np.array([5, 6, 7, 8], 'f'), 1).distances[0]}")
E
observe python "$tmp/program.py"
verdict <<'E'
the default dtype: ScalarKind.BF16
f32: [1, 2, 3, 4] and [5, 6, 7, 8] come back as [1.0, 2.0, 3.0, 4.0] and [5.0, 6.0]...; distance of [5, 6, 7, 8] 0.0
f16: [1, 2, 3, 4] and [5, 6, 7, 8] come back as [1.0, 2.0, 3.0, 4.0] and [5.0, 6.0]...; distance of [5, 6, 7, 8] 0.0
bf16: [1, 2, 3, 4] and [5, 6, 7, 8] come back as [1.0, 2.0, 5.0, 6.0] and [7.0, 8.0]...; distance of [5, 6, 7, 8] 0.0
E
