#!/usr/bin/env bash
# usearch 2.26.6. Seen on 2026-11-29.
# Expected: a saved index searches as it did before: same effort (expansion_search), and an Index that loads it either keeps what it was made with or says what it is now.
# Happens: expansion_search 500 comes back as the default 64, by restore and by load: recall falls without a word. And an Index(ndim=32), cosine by default, that loads a file
#   of inner products still says Cos, and takes the file's: its distances are inner products.
# Matters: a gallery searched in another process is less exact than the one that was measured, and code that asks the index which metric it has gets the wrong one.
# Source: usearch/index.hpp stores connectivity only; usearch/index.py, Index.load, keeps the attribute of the constructor.
. "$(dirname "$0")/common.sh"
python_packages usearch==2.26.6 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np, os
from usearch.index import Index
os.chdir(os.environ["TMPDIR"])
vectors = np.random.default_rng(0).normal(size=(5000, 64)).astype("f")
queries = np.random.default_rng(1).normal(size=(300, 64)).astype("f")
truth = np.argsort(-queries @ vectors.T, 1)[:, :10]
def report(what, index):
    found = index.search(queries, 10, threads=1)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.keys, truth)])
    print(f"{what}: says {index.metric_kind.name}, expansion_search {index.expansion_search}; finds more than 99 % {recall > .99}, its distances are 1 - inner product {np.allclose(found.distances[:, 0], 1 - (queries * vectors[found.keys[:, 0]]).sum(1), atol=1e-3)}")
index = Index(ndim=64, metric="ip", dtype="f32", expansion_search=500); index.add(np.arange(5000), vectors, threads=1)
report("built", index); index.save("saved.usearch")
report("restored", Index.restore("saved.usearch"))
index = Index(ndim=64, dtype="f32"); index.load("saved.usearch"); report("loaded into an Index(ndim=64)", index)
E
observe python "$tmp/program.py"
verdict <<'E'
built: says IP, expansion_search 500; finds more than 99 % True, its distances are 1 - inner product True
restored: says IP, expansion_search 64; finds more than 99 % False, its distances are 1 - inner product True
loaded into an Index(ndim=64): says Cos, expansion_search 64; finds more than 99 % False, its distances are 1 - inner product True
E
