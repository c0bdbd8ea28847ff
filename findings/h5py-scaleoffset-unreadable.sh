#!/usr/bin/env bash
# h5py 3.15.1 (HDF5 1.14.6) and 3.16.0 (HDF5 2.0.0). Seen on 2026-11-30.
# Expected: the scale-offset filter is lossless for integers with scaleoffset=0 and keeps 3 decimals of floats with scaleoffset=3, as documented; what it cannot hold it refuses.
# Happens: with HDF5 1.14.6 a chunk that needs all bits of its type is written without an error and cannot be read: a uint8 picture of 1 to 254, floats with a spread of
#   1e7. HDF5 2.0 reads these. In both a NaN becomes an ordinary number, and as the first value of its chunk makes the whole chunk unreadable.
# Matters: the filter is offered as the cheap one for integers and features. Whoever writes with it and reads much later loses pictures; other versions do read the same file. Failed
#   features marked with NaN come back as numbers that pass every check.
# Source: https://github.com/HDFGroup/hdf5/pull/5864 (1.14.6's check in H5Zscaleoffset.c); h5py's documentation of filters.
. "$(dirname "$0")/common.sh"
cat > "$tmp/program.py" <<'E'
import h5py, numpy as np, os
os.chdir(os.environ["TMPDIR"])
random = np.random.default_rng(0)
def show(what, values, scale, result):
    with h5py.File("a.h5", "w") as file: file.create_dataset("x", data=values, chunks=values.shape, scaleoffset=scale)
    with h5py.File("a.h5") as file:
        try: read = result(file["x"][:])
        except OSError: read = "cannot be read"
    print(f"HDF5 {h5py.version.hdf5_version}, {what}, scaleoffset={scale}: {read}")
for top in 100, 254:
    picture = random.integers(1, top + 1, (32, 32, 3)).astype("u1"); show(f"picture of 1 to {top}", picture, 0, lambda read: f"{(read != picture).sum()} values differ")
for what, place, value in ("features", 0, 0), ("features with a 1e7", 0, 1e7), ("a NaN in the middle", 99, np.nan), ("a NaN as the first", 0, np.nan):
    features = random.normal(size=1000).astype("f"); features[place] = value
    show(what, features, 3, lambda read: f"largest error {np.nanmax(abs(read - features)):.4f}, NaN: {np.isnan(read).sum()}")
E
for version in 3.15.1 3.16.0; do python_packages h5py==$version numpy==2.4.6; observe python "$tmp/program.py"; done
verdict <<'E'
HDF5 1.14.6, picture of 1 to 100, scaleoffset=0: 0 values differ
HDF5 1.14.6, picture of 1 to 254, scaleoffset=0: cannot be read
HDF5 1.14.6, features, scaleoffset=3: largest error 0.0005, NaN: 0
HDF5 1.14.6, features with a 1e7, scaleoffset=3: cannot be read
HDF5 1.14.6, a NaN in the middle, scaleoffset=3: largest error 0.0005, NaN: 0
HDF5 1.14.6, a NaN as the first, scaleoffset=3: cannot be read
HDF5 2.0.0, picture of 1 to 100, scaleoffset=0: 0 values differ
HDF5 2.0.0, picture of 1 to 254, scaleoffset=0: 0 values differ
HDF5 2.0.0, features, scaleoffset=3: largest error 0.0005, NaN: 0
HDF5 2.0.0, features with a 1e7, scaleoffset=3: largest error 0.0000, NaN: 0
HDF5 2.0.0, a NaN in the middle, scaleoffset=3: largest error 0.0005, NaN: 0
HDF5 2.0.0, a NaN as the first, scaleoffset=3: cannot be read
E
