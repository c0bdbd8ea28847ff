#!/usr/bin/env bash
# faiss-cpu 1.15.1. Seen on 2026-11-29.
# Expected: among equal scores IndexFlat puts ids in one order, the same for L2 and inner product, and the best of 5 is what a search for 1 finds.
# Happens: L2 gives the lowest ids, first id first. Inner product gives the lowest ids too, but the last of them first, so that the first of 5 is another document than
#   the first of 1. And range_search leaves out what lies exactly at the radius: radius 0 finds no duplicate, not even the vector itself.
# Matters: with duplicates in a gallery Prec@1 read off a search for 5 differs from that of a search for 1, and L2 on unit vectors ranks otherwise than inner product.
#   Deduplication by range_search with radius 0 finds nothing.
# Source: faiss/impl/ResultHandler.h (a handler of its own for k = 1; range results by strict comparison) and faiss/utils/Heap.h.
. "$(dirname "$0")/common.sh"
python_packages faiss-cpu==1.15.1 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import faiss, numpy as np
vector = np.zeros((1, 8), "f"); vector[0, 0] = 1
for kind in faiss.IndexFlatL2, faiss.IndexFlatIP:
    index = kind(8); index.add(np.repeat(vector, 10, 0))
    print(kind.__name__, "10 equal vectors:", *(f"search for {k} finds {index.search(vector, k)[1][0].tolist()}" for k in (1, 2, 5)), sep=" ")
index = faiss.IndexFlatL2(8); index.add(np.repeat(vector, 10, 0))
for radius in 0., 1e-9: print(f"range_search, L2, radius {radius}: {len(index.range_search(vector, radius)[2])} of 10 equal vectors")
E
observe python "$tmp/program.py"
verdict <<'E'
IndexFlatL2 10 equal vectors: search for 1 finds [0] search for 2 finds [0, 1] search for 5 finds [0, 1, 2, 3, 4]
IndexFlatIP 10 equal vectors: search for 1 finds [0] search for 2 finds [1, 0] search for 5 finds [4, 3, 2, 1, 0]
range_search, L2, radius 0.0: 0 of 10 equal vectors
range_search, L2, radius 1e-09: 10 of 10 equal vectors
E
