#!/usr/bin/env bash
# faiss-cpu 1.15.1. Seen on 2026-11-29.
# Expected: an IVF index from which vectors were removed gives the next vector that is added an id that nobody has.
# Happens: add numbers from ntotal on. After the removal of one of ids 0 to 9 the next vector gets 9, which another vector has already: a search answers 9 and 9, for two
#   different pictures. ntotal also counts a vector that has a NaN and was put into no list, so that it is more than the index can ever return.
# Matters: a gallery that is kept up to date (a picture removed, another added) answers with the wrong picture, without an error. IndexFlat instead shifts all later ids down.
# Source: faiss/IndexIVF.cpp, add_core: ids are ntotal + i, and rows whose list number is negative are counted but not stored.
. "$(dirname "$0")/common.sh"
python_packages faiss-cpu==1.15.1 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import faiss, numpy as np
vectors = np.random.default_rng(0).normal(size=(400, 8)).astype("f")
def report(what, index):
    index.add(vectors[:10]); removed = index.remove_ids(np.array([3])); index.add(vectors[10:11])
    found = index.search(vectors[[2, 9, 10]], 1)
    print(f"{what}: {removed} removed, ntotal {index.ntotal}; vectors 2, 9 and the new one are found as {found[1][:, 0].tolist()}, each at distance {found[0].max():.1f}")
ivf = faiss.index_factory(8, "IVF4,Flat"); ivf.train(vectors); ivf.nprobe = 4; report("IVF", ivf)
report("flat", faiss.IndexFlatL2(8))
ivf = faiss.index_factory(8, "IVF4,Flat"); ivf.train(vectors); ivf.nprobe = 4
broken = vectors[:10].copy(); broken[3] = np.nan; ivf.add(broken)
print(f"IVF with one NaN vector: ntotal {ivf.ntotal}, a search for all returns {(ivf.search(vectors[:1], 10)[1] >= 0).sum()}")
E
observe python "$tmp/program.py"
verdict <<'E'
IVF: 1 removed, ntotal 10; vectors 2, 9 and the new one are found as [2, 9, 9], each at distance 0.0
flat: 1 removed, ntotal 10; vectors 2, 9 and the new one are found as [2, 8, 9], each at distance 0.0
IVF with one NaN vector: ntotal 10, a search for all returns 9
E
