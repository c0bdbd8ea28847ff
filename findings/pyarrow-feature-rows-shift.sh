#!/usr/bin/env bash
# pyarrow 26.0.1. Seen on 2026-11-30.
# Expected: both usual ways from a column of fixed-size lists to a matrix, .values and .flatten() with a reshape, give a row for each row of the column.
# Happens: .values ignores a slice: rows 3 and 4 of a column of five give the matrix of all five, from the first one on. .flatten() leaves out rows that are null: with a null at row 2,
#   row 3 of the matrix is row 4 of the column, without an error, as the reshape still fits.
# Matters: features written beside ids, with null where an image failed, are read back one row off from there on; a batch or a rank's slice of a table gets the first rows' features.
# Source: documentation of pyarrow.FixedSizeListArray, values and flatten.
. "$(dirname "$0")/common.sh"
python_packages pyarrow==26.0.1 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np, os, pyarrow as pa, pyarrow.parquet as pq
os.chdir(os.environ["TMPDIR"])
rows = [[i, i] for i in range(5)]
def first(values): return values.to_numpy(zero_copy_only=False).reshape(-1, 2)[:, 0].tolist()
for what, features in ("five rows", rows), ("five rows, the third null", [None if i == 2 else row for i, row in enumerate(rows)]):
    pq.write_table(pa.table({"id": range(5), "feature": pa.array(features, pa.list_(pa.float32(), 2))}), "a.parquet")
    for name, table in ("whole", pq.read_table("a.parquet")), ("from row 3", pq.read_table("a.parquet").slice(3)):
        column = table["feature"].chunk(0)
        print(f"{what}, {name}: ids {table['id'].to_pylist()}, values {first(column.values)}, flatten {first(column.flatten())}")
E
observe python "$tmp/program.py"
verdict <<'E'
five rows, whole: ids [0, 1, 2, 3, 4], values [0.0, 1.0, 2.0, 3.0, 4.0], flatten [0.0, 1.0, 2.0, 3.0, 4.0]
five rows, from row 3: ids [3, 4], values [0.0, 1.0, 2.0, 3.0, 4.0], flatten [3.0, 4.0]
five rows, the third null, whole: ids [0, 1, 2, 3, 4], values [0.0, 1.0, nan, 3.0, 4.0], flatten [0.0, 1.0, 3.0, 4.0]
five rows, the third null, from row 3: ids [3, 4], values [0.0, 1.0, nan, 3.0, 4.0], flatten [3.0, 4.0]
E
