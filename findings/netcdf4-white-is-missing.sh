#!/usr/bin/env bash
# netCDF4 1.7.5.1.post1 beside h5py 3.16.0. Seen on 2026-12-01.
# Expected: uint8 pixels written to a variable for which no fill value was given come back as they are, and their mean is the picture's.
# Happens: 255, the format's default for what was never written, is read as missing: the masked array leaves white out of mean, max and comparisons. The file has no _FillValue,
#   and h5py reads it right. int8 loses -127, uint16 65535. fill_value=False when the variable is made turns it off; fill_value=None, the default, does not.
# Matters: statistics for normalisation come out too dark, and white is not found by a comparison; np.asarray of the same data has the 255 again.
# Source: _netCDF4.pyx, _toma: its comment excludes byte variables from the default, its condition has an `or` that does not; github.com/Unidata/netcdf4-python/issues/209 (closed) is about it.
. "$(dirname "$0")/common.sh"
python_packages netCDF4==1.7.5.1.post1 h5py==3.16.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import h5py, netCDF4, numpy as np, os
os.chdir(os.environ["TMPDIR"])
picture = np.array([[255, 255, 255, 0], [255, 100, 100, 0]], "u1")
with netCDF4.Dataset("a.nc", "w") as file:
    file.createDimension("y", 2); file.createDimension("x", 4)
    def write(name, values, **options): file.createVariable(name, values.dtype, ("y", "x"), **options)[:] = values
    write("picture", picture); write("None", picture, fill_value=None); write("False", picture, fill_value=False)
    write("int8", np.arange(-128, -120, dtype="i1").reshape(2, 4)); write("uint16", np.arange(65528, 65536, dtype="u2").reshape(2, 4))
with netCDF4.Dataset("a.nc") as file:
    for name in "picture", "None", "False":
        read = file[name][:]
        print(f"{name}: {read.tolist()}, mean {read.mean()}, largest {read.max()}, white pixels {(read == 255).sum()}, attributes {file[name].ncattrs()}")
    for name in "int8", "uint16": print(f"{name}: {file[name][:].tolist()}")
    print("as an array:", np.asarray(file["picture"][:]).tolist())
with h5py.File("a.nc") as file: print(f"h5py: {file['picture'][:].tolist()}, mean {file['picture'][:].mean()}")
E
observe python "$tmp/program.py"
verdict <<'E'
picture: [[None, None, None, 0], [None, 100, 100, 0]], mean 50.0, largest 100, white pixels 0, attributes []
None: [[None, None, None, 0], [None, 100, 100, 0]], mean 50.0, largest 100, white pixels 0, attributes []
False: [[255, 255, 255, 0], [255, 100, 100, 0]], mean 152.5, largest 255, white pixels 4, attributes []
int8: [[-128, None, -126, -125], [-124, -123, -122, -121]]
uint16: [[65528, 65529, 65530, 65531], [65532, 65533, 65534, None]]
as an array: [[255, 255, 255, 0], [255, 100, 100, 0]]
h5py: [[255, 255, 255, 0], [255, 100, 100, 0]], mean 152.5
E
