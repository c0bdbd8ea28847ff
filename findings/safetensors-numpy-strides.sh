#!/usr/bin/env bash
# safetensors 0.8.0, numpy 2.4.6. Seen on 2026-11-29.
# Expected: safetensors.numpy saves an array as it is, or refuses one that is not contiguous, as safetensors.torch does.
# Happens: a transposed, sliced or Fortran-ordered array is written as the memory lies, under the shape that it has as a view: other numbers come back, without an error.
#   Arrays in C order are right, and big-endian ones are.
# Matters: features turned with .T, images moved from HWC to CHW with transpose and every second row are saved as nonsense of the right shape and dtype. Call
#   numpy.ascontiguousarray first.
# Source: safetensors/numpy.py.
. "$(dirname "$0")/common.sh"
python_packages safetensors==0.8.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np
from safetensors.numpy import load, save
array = np.arange(6.).reshape(2, 3)
for what, view in {"as it is": array, "big-endian": array.astype(">f8"), "array.T": array.T, "array[:, ::2]": array[:, ::2], "numpy.asfortranarray(array)": np.asfortranarray(array),
                   "numpy.ascontiguousarray(array.T)": np.ascontiguousarray(array.T)}.items():
    back = load(save({"x": view}))["x"]
    print(f"{what}: {view.tolist()} comes back", "as it was" if np.array_equal(back, view) else f"as {back.tolist()}")
E
observe python "$tmp/program.py"
verdict <<'E'
as it is: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] comes back as it was
big-endian: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] comes back as it was
array.T: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] comes back as [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
array[:, ::2]: [[0.0, 2.0], [3.0, 5.0]] comes back as [[0.0, 1.0], [2.0, 3.0]]
numpy.asfortranarray(array): [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] comes back as [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]]
numpy.ascontiguousarray(array.T): [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] comes back as it was
E
