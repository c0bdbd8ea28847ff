#!/usr/bin/env bash
# zarr 3.1.6 beside h5py 3.16.0. Seen on 2026-11-29.
# Expected: rows that a resize cuts off are gone: grown again, the array holds the fill value there, as an HDF5 dataset does.
# Happens: zarr drops whole chunks only. Cut off within a chunk, the rows stay in it and come back when the array grows.
# Matters: shortening an array to the last complete sample after a crash and appending later, or giving back space of removed samples, brings old samples and labels to light.
# Source: zarr/core/array.py, resize: chunks outside the new shape are deleted, the last one is not touched.
. "$(dirname "$0")/common.sh"
python_packages zarr==3.1.6 h5py==3.16.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import h5py, numpy as np, os, zarr
os.chdir(os.environ["TMPDIR"])
labels = np.arange(1, 11)
def report(what, array):
    array.resize((5,)); shorter = array[:].tolist(); array.resize((10,)); print(f"{what}, chunks of 4, 1 to 10: cut to 5 {shorter}, grown to 10 again {array[:].tolist()}")
with h5py.File("a.h5", "w") as file: report("HDF5", file.create_dataset("labels", data=labels, maxshape=(None,), chunks=(4,)))
array = zarr.create_array("a.zarr", shape=(10,), chunks=(4,), dtype="i8"); array[:] = labels
report("zarr", array)
E
observe python "$tmp/program.py"
verdict <<'E'
HDF5, chunks of 4, 1 to 10: cut to 5 [1, 2, 3, 4, 5], grown to 10 again [1, 2, 3, 4, 5, 0, 0, 0, 0, 0]
zarr, chunks of 4, 1 to 10: cut to 5 [1, 2, 3, 4, 5], grown to 10 again [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]
E
