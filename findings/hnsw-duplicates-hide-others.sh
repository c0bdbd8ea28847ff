#!/usr/bin/env bash
# hnswlib 0.8.0 (pip builds it: a C++ compiler is needed), faiss-cpu 1.15.1, usearch 2.26.6. Seen on 2026-11-29.
# Expected: copies of one vector in an HNSW index fill places in the answers near them; other vectors are found as before, all the more when one searches for a stored vector itself.
# Happens: 1000 copies of one vector hide 10 to 50 % of the 999 others, in all three libraries: a vector searched for by itself is not found, at ef 100. Presumably copies link to copies
#   only and cut the graph, whether they were added before or after the rest.
# Matters: placeholder pictures, all-zero features of broken files and repeated crops are common in image galleries. Recall falls on pictures that have nothing to do with them,
#   and no average over random test data shows it.
. "$(dirname "$0")/common.sh"
cat > "$tmp/program.py" <<'E'
import numpy as np, sys
others = np.random.default_rng(0).normal(size=(999, 32)).astype("f")
copy = np.random.default_rng(1).normal(size=(1, 32)).astype("f")
def hnswlib_(gallery):
    import hnswlib
    index = hnswlib.Index("l2", 32); index.init_index(len(gallery)); index.add_items(gallery, num_threads=1); index.set_ef(100)
    return index.knn_query(others, 1, num_threads=1)[0][:, 0]
def faiss_(gallery):
    import faiss
    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(32, 32); index.hnsw.efSearch = 100; index.add(gallery)
    return index.search(others, 1)[1][:, 0]
def usearch_(gallery):
    from usearch.index import Index
    index = Index(ndim=32, metric="l2sq", dtype="f32", expansion_search=100); index.add(np.arange(len(gallery)), gallery, threads=1)
    return index.search(others, 1, threads=1).keys[:, 0]
def share(copies, first):
    parts = [np.repeat(copy, copies, 0), others][::1 if first else -1]
    return np.mean(find(np.concatenate(parts)) == np.arange(999) + (copies if first else 0))
find = globals()[sys.argv[1] + "_"]
print(f"{sys.argv[1]}: of 999 others, more than 95 % find themselves: beside 1 copy {share(1, True) > .95}; beside 1000 copies that were added first {share(1000, True) > .95}, last {share(1000, False) > .95}")
E
python_packages hnswlib==0.8.0 faiss-cpu==1.15.1 usearch==2.26.6 numpy==2.4.6
for library in hnswlib faiss usearch; do observe python "$tmp/program.py" $library; done
verdict <<'E'
hnswlib: of 999 others, more than 95 % find themselves: beside 1 copy True; beside 1000 copies that were added first False, last False
faiss: of 999 others, more than 95 % find themselves: beside 1 copy True; beside 1000 copies that were added first False, last False
usearch: of 999 others, more than 95 % find themselves: beside 1 copy True; beside 1000 copies that were added first False, last False
E
