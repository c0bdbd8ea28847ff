#!/usr/bin/env bash
# zarr 3.1.6, h5py 3.16.0. Seen on 2026-11-29.
# Expected: numbers that do not fit the type of the stored array raise, or both libraries change them alike.
# Happens: 300 and -1 written into uint8 become 44 and 255 in zarr, 255 and 0 in h5py. Floats appended to integers lose their fraction in zarr. h5py's
#   astype reads infinity as 255 and NaN as 0. None of it raises or warns.
# Matters: pictures slightly outside 0..255 after interpolation, or labels of -1 for "unknown", are kept as class 255 by one and as class 0 by the other.
# Source: HDF5's conversion of numbers clips (H5T); zarr casts chunks with numpy's astype.
. "$(dirname "$0")/common.sh"
python_packages zarr==3.1.6 h5py==3.16.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import h5py, numpy as np, os, warnings, zarr
os.chdir(os.environ["TMPDIR"])
def written(numbers, dtype):
    with h5py.File("a.h5", "w") as file: a = file.create_dataset("a", (len(numbers),), dtype); a[:] = numbers; one = a[:].tolist()
    b = zarr.create_array("a.zarr", shape=(len(numbers),), dtype=dtype, overwrite=True); b[:] = numbers
    print(f"{numbers.tolist()} ({numbers.dtype}) written into {dtype}: h5py {one}, zarr {b[:].tolist()}")
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    written(np.array([300, -1, 256]), "u1"); written(np.array([40000, -40000]), "i2"); written(np.array([254.9, -0.9]), "u1")
    array = zarr.create_array("b.zarr", shape=(0,), chunks=(4,), dtype="i4"); array.append(np.array([1, 2])); array.append(np.array([.9, 1.9])); print("zarr, int32, [0.9, 1.9] appended:", array[:].tolist())
    with h5py.File("a.h5", "w") as file: file["a"] = np.array([np.nan, np.inf, 1.9], "f2"); print("h5py, [nan, inf, 1.9] read as uint8:", file["a"].astype("u1")[:].tolist())
    print("warnings:", len(seen))
E
observe python "$tmp/program.py"
verdict <<'E'
[300, -1, 256] (int64) written into u1: h5py [255, 0, 255], zarr [44, 255, 0]
[40000, -40000] (int64) written into i2: h5py [32767, -32768], zarr [-25536, 25536]
[254.9, -0.9] (float64) written into u1: h5py [254, 0], zarr [254, 0]
zarr, int32, [0.9, 1.9] appended: [1, 2, 0, 1]
h5py, [nan, inf, 1.9] read as uint8: [0, 255, 1]
warnings: 0
E
