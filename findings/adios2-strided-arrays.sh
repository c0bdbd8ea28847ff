#!/usr/bin/env bash
# adios2 2.12.1.1001. Seen on 2026-11-30.
# Expected: Stream.write takes numpy arrays as they are, or refuses those that are not contiguous: for types that it does not know it says "not memory contiguous".
# Happens: the memory is written as it lies. Transposed and Fortran arrays, a column and every second row come back with other numbers.
# Matters: images turned from HWC to CHW and slices of a batch are stored wrong, with right shapes and right types; nothing tells.
# Source: github.com/ornladios/ADIOS2/issues/1705 and /2217 of 2019 and 2020, both closed; still so.
. "$(dirname "$0")/common.sh"
python_packages adios2==2.12.1.1001 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import adios2, numpy as np
def through(value, *place):
    with adios2.Stream("a.bp", "w") as stream: stream.write("v", value, *place)
    with adios2.FileReader("a.bp") as reader: return reader.read("v")
x = np.arange(12).reshape(4, 3)
for what, array in ("as it lies", x), ("transposed", x.T), ("Fortran", np.asfortranarray(x)), ("a column", x[:, 1]), ("every second row", x[::2]):
    print(f"{what}: wrote {array.tolist()} read {through(array, array.shape, [0] * array.ndim, array.shape).tolist()}")
E
cd "$tmp"
observe python "$tmp/program.py"
verdict <<'E'
as it lies: wrote [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]] read [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
transposed: wrote [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]] read [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
Fortran: wrote [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]] read [[0, 3, 6], [9, 1, 4], [7, 10, 2], [5, 8, 11]]
a column: wrote [1, 4, 7, 10] read [1, 2, 3, 4]
every second row: wrote [[0, 1, 2], [6, 7, 8]] read [[0, 1, 2], [3, 4, 5]]
E
