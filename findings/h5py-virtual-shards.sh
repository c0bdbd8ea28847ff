#!/usr/bin/env bash
# h5py 3.16.0 (its wheel's HDF5). Seen on 2026-11-29.
# Expected: reading a virtual dataset over several shards raises when a shard is gone, or when it no longer holds its dataset.
# Happens: the shard's part reads as zeros, without an error, and its labels as class 0. A shard that is there but is no HDF5 file does raise.
# Matters: a failed copy or a renamed shard becomes black images of class 0 in training. Whoever opens such a file must check its virtual_sources() first.
# Source: HDF5's documentation of virtual datasets: what cannot be found is filled with the fill value; src/H5Dvirtual.c.
. "$(dirname "$0")/common.sh"
python_packages h5py==3.16.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import h5py, numpy as np, os, tempfile
os.chdir(tempfile.mkdtemp())
def shard(name, dataset="labels"):
    with h5py.File(name, "w") as f: f[dataset] = np.array([5, 6, 7])
shard("a.h5"); shard("b.h5")
layout = h5py.VirtualLayout((6,), "i8")
for i, name in enumerate(("a.h5", "b.h5")): layout[3 * i:3 * i + 3] = h5py.VirtualSource(name, "labels", (3,))
with h5py.File("all.h5", "w") as f: f.create_virtual_dataset("labels", layout)
def read(what):
    with h5py.File("all.h5") as f:
        try: answer = f["labels"][:].tolist()
        except OSError as error: answer = f"OSError: {error}"
    print(f"{what}: {answer}")
read("both shards there")
os.remove("b.h5"); read("b.h5 removed")
shard("b.h5", "other"); read("b.h5 holds another dataset")
open("b.h5", "w").write("not HDF5"); read("b.h5 is no HDF5 file")
E
observe python "$tmp/program.py"
verdict <<'E'
both shards there: [5, 6, 7, 5, 6, 7]
b.h5 removed: [5, 6, 7, 0, 0, 0]
b.h5 holds another dataset: [5, 6, 7, 0, 0, 0]
b.h5 is no HDF5 file: OSError: Can't synchronously read data (file signature not found)
E
