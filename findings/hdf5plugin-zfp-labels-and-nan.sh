#!/usr/bin/env bash
# hdf5plugin 7.1.0, h5py 3.16.0. Seen on 2026-11-30.
# Expected: Zfp() without options loses some accuracy of floats at most: integers come back as they were or are refused, NaN stays NaN.
# Happens: it is lossy for integers as well: half of the int32 labels come back changed. A NaN becomes an ordinary number, an infinity too, and values beside them are off by more than
#   the accuracy that was asked for. reversible=True keeps all; uint8 is refused.
# Matters: one compression setting for all arrays of a file changes class numbers and ids, and the marks of failed features (NaN) become features that pass every check for finite values.
# Source: zfp supports NaN and infinities in its reversible mode only, as its documentation says; the filter (LLNL/H5Z-ZFP) does not look for them.
. "$(dirname "$0")/common.sh"
python_packages hdf5plugin==7.1.0 h5py==3.16.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import h5py, hdf5plugin, numpy as np, os
os.chdir(os.environ["TMPDIR"])
random = np.random.default_rng(0)
features = random.normal(size=(64, 16)).astype("f"); features[3, 3], features[40, 5] = np.nan, np.inf
arrays = {"int32 labels": random.integers(0, 1000, (1024, 1)).astype("i4"), "int64 ids": random.integers(0, 10**12, (64, 16)), "float32 features": features}
for name, options in {"Zfp()": {}, "Zfp(accuracy=0.001)": {"accuracy": 1e-3}, "Zfp(reversible=True)": {"reversible": True}}.items():
    for what, values in arrays.items():
        with h5py.File("a.h5", "w") as file: file.create_dataset("x", data=values, chunks=values.shape, **hdf5plugin.Zfp(**options))
        with h5py.File("a.h5") as file: read = file["x"][:]
        if values.dtype.kind == "i": print(f"{name}, {what}: {(read != values).mean():.0%} changed, by up to {abs(read - values).max()}")
        else: print(f"{name}, {what}: error below {0.001 if np.nanmax(abs(read - values)[np.isfinite(values)]) < 0.001 else 1}, NaN is {read[3, 3]:.1f}, infinity {read[40, 5]:.1f}")
E
observe python "$tmp/program.py"
verdict <<'E'
Zfp(), int32 labels: 48% changed, by up to 2
Zfp(), int64 ids: 75% changed, by up to 6
Zfp(), float32 features: error below 1, NaN is -4.0, infinity -2.0
Zfp(accuracy=0.001), int32 labels: 48% changed, by up to 2
Zfp(accuracy=0.001), int64 ids: 75% changed, by up to 6
Zfp(accuracy=0.001), float32 features: error below 1, NaN is 4.0, infinity -2.0
Zfp(reversible=True), int32 labels: 0% changed, by up to 0
Zfp(reversible=True), int64 ids: 0% changed, by up to 0
Zfp(reversible=True), float32 features: error below 0.001, NaN is nan, infinity inf
E
