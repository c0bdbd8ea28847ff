#!/usr/bin/env bash
# tiledb 0.36.1. Seen on 2026-12-01.
# Expected: a query condition compares an integer attribute with a number, as numpy, SQL and pandas do: pixels < 2.5 are 0, 1 and 2. Or it refuses the fraction, as it refuses 300 for uint8.
# Happens: the fraction is cut off the constant, without a word, for all integer types. < 2.5 means < 2 and loses the twos; >= 2.5 and == 2.5 find them, != 2.5 leaves them out.
#   <= 2.5 and > 2.5 happen to be right. With an attribute of floats all are right; conditions on negative fractions round to zero: > -1.5 means > -1.
# Matters: a threshold that is a mean, a quantile or half of 255 takes or loses a whole grey level or count, by which of < and <= one wrote.
# Source: tiledb/query_condition.py, cast_value_to_dtype. No issue of TileDB-Py was found; chroma's local filters do the same (github.com/chroma-core/chroma/issues/7491).
. "$(dirname "$0")/common.sh"
python_packages tiledb==0.36.1 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np, os, tiledb
os.chdir(os.environ["TMPDIR"])
def rows(dtype, values):
    domain = tiledb.Domain(tiledb.Dim("row", domain=(0, 9), tile=5, dtype=np.int64))
    tiledb.Array.create(dtype, tiledb.ArraySchema(domain=domain, sparse=True, attrs=[tiledb.Attr("pixel", dtype=np.dtype(dtype))]))
    with tiledb.open(dtype, "w") as array: array[np.arange(len(values))] = np.array(values, dtype)
def report(condition, dtype, values):
    with tiledb.open(dtype) as array:
        try: found = sorted(array.query(cond=condition)[:]["pixel"].tolist())
        except tiledb.TileDBError as error: found = "TileDBError"
    print(f"{dtype} {condition}: {found}, numpy {np.array(values)[eval(condition, {'pixel': np.array(values)})].tolist()}")
for dtype, values in ("uint8", [1, 2, 3, 4]), ("int32", [-2, -1, 0, 1]), ("float32", [1.0, 2.0, 3.0, 4.0]): rows(dtype, values)
for condition in "pixel < 2.5", "pixel <= 2.5", "pixel >= 2.5", "pixel == 2.5", "pixel != 2.5":
    report(condition, "uint8", [1, 2, 3, 4]); report(condition, "float32", [1.0, 2.0, 3.0, 4.0])
report("pixel < 300", "uint8", [1, 2, 3, 4])
report("pixel > -1.5", "int32", [-2, -1, 0, 1])
E
observe python "$tmp/program.py"
verdict <<'E'
uint8 pixel < 2.5: [1], numpy [1, 2]
float32 pixel < 2.5: [1.0, 2.0], numpy [1.0, 2.0]
uint8 pixel <= 2.5: [1, 2], numpy [1, 2]
float32 pixel <= 2.5: [1.0, 2.0], numpy [1.0, 2.0]
uint8 pixel >= 2.5: [2, 3, 4], numpy [3, 4]
float32 pixel >= 2.5: [3.0, 4.0], numpy [3.0, 4.0]
uint8 pixel == 2.5: [2], numpy []
float32 pixel == 2.5: [], numpy []
uint8 pixel != 2.5: [1, 3, 4], numpy [1, 2, 3, 4]
float32 pixel != 2.5: [1.0, 2.0, 3.0, 4.0], numpy [1.0, 2.0, 3.0, 4.0]
uint8 pixel < 300: TileDBError, numpy [1, 2, 3, 4]
int32 pixel > -1.5: [0, 1], numpy [-1, 0, 1]
E
