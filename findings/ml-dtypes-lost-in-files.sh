#!/usr/bin/env bash
# ml_dtypes 0.6.0, numpy 2.4.6, h5py 3.16.0, zarr 3.1.6. Seen on 2026-11-29.
# Expected: a bfloat16 or float8 array can be saved and read again, or saving it raises.
# Happens: numpy.save and h5py write bfloat16 and float8_e4m3fn without an error as bytes without a type (V2, V1): what is read back cannot be calculated with. numpy.save
#   writes float8_e5m2 without an error too, as a file that numpy.load refuses. h5py refuses that type when it writes, and zarr all three.
# Matters: features of a long extraction are on disk, and the reader must know their type from elsewhere. Keep it as an attribute, or save uint16 or float32.
# Source: numpy's dtype.str, which the formats store, is <V2 for bfloat16 and <f1 for float8_e5m2, which numpy itself does not know.
. "$(dirname "$0")/common.sh"
python_packages ml_dtypes==0.6.0 numpy==2.4.6 h5py==3.16.0 zarr==3.1.6
cat > "$tmp/program.py" <<'E'
import h5py, ml_dtypes, numpy as np, os, zarr
os.chdir(os.environ["TMPDIR"])
def npy(array): np.save("a.npy", array); return lambda: np.load("a.npy")
def hdf5(array):
    with h5py.File("a.h5", "w") as file: file["a"] = array
    return lambda: h5py.File("a.h5")["a"][:]
def zarr_(array): zarr.create_array("a.zarr", data=array, overwrite=True); return lambda: zarr.open_array("a.zarr")[:]
for dtype in np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2:
    answers = []
    for write in npy, hdf5, zarr_:
        what = "writing it"
        try:
            read = write(np.ones(3, dtype)); what = "reading it"
            back = read(); what = f"adding 1 to the {back.dtype} read"
            back + 1; answers.append(f"{write.__name__.strip('_')} {back.dtype}")
        except (TypeError, ValueError) as error: answers.append(f"{write.__name__.strip('_')} {what} raises {type(error).__name__}")
    print(f"{np.dtype(dtype)}:", ", ".join(answers))
E
observe python "$tmp/program.py"
verdict <<'E'
float16: npy float16, hdf5 float16, zarr float16
bfloat16: npy adding 1 to the |V2 read raises UFuncTypeError, hdf5 adding 1 to the |V2 read raises UFuncTypeError, zarr writing it raises ValueError
float8_e4m3fn: npy adding 1 to the |V1 read raises UFuncTypeError, hdf5 adding 1 to the |V1 read raises UFuncTypeError, zarr writing it raises ValueError
float8_e5m2: npy reading it raises ValueError, hdf5 writing it raises TypeError, zarr writing it raises ValueError
E
