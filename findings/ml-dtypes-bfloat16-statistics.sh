#!/usr/bin/env bash
# ml_dtypes 0.6.0, numpy 2.4.6. Seen on 2026-11-29.
# Expected: numpy sums and averages arrays of bfloat16 as it does those of float16: in pairs, the mean in float32; sort puts NaN last.
# Happens: sum adds one after the other in bfloat16 and stands still once the sum is 256 times the element: the mean of 10000 times 1.1 is 0.05, the standard deviation 0.23.
#   sort and argsort with a NaN leave the numbers out of order. A matrix product and numpy.linalg.norm are right: they work in float32.
# Matters: features and latents are kept in bfloat16 and looked at through numpy: their mean, variance and normalisation come out wrong by any factor, and a ranking of
#   scores with one NaN is no ranking. Convert with astype("float32") first.
# Source: ml_dtypes/_src/custom_float.h: NPyCustomFloat_CompareFunc has no place for NaN.
. "$(dirname "$0")/common.sh"
python_packages ml_dtypes==0.6.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np
from ml_dtypes import bfloat16
for dtype in np.float16, bfloat16:
    numbers, scores = np.full(10000, 1.1, dtype), np.array([3, np.nan, 1, 2], dtype)
    print(f"{np.dtype(dtype)}: mean of 10000 times 1.1 {float(numbers.mean()):.2f}, standard deviation {float(numbers.std()):.2f}, mean after astype {numbers.astype('f').mean():.2f}; "
          f"columns of 1000 ones {np.ones((1000, 2), dtype).sum(0).astype('f').tolist()}, rows {np.ones((2, 1000), dtype).sum(1).astype('f').tolist()}; "
          f"[3, nan, 1, 2] sorted {np.sort(scores).astype('f').tolist()}")
E
observe python "$tmp/program.py"
verdict <<'E'
float16: mean of 10000 times 1.1 1.10, standard deviation 0.00, mean after astype 1.10; columns of 1000 ones [1000.0, 1000.0], rows [1000.0, 1000.0]; [3, nan, 1, 2] sorted [1.0, 2.0, 3.0, nan]
bfloat16: mean of 10000 times 1.1 0.05, standard deviation 0.23, mean after astype 1.10; columns of 1000 ones [256.0, 256.0], rows [256.0, 256.0]; [3, nan, 1, 2] sorted [3.0, nan, 1.0, 2.0]
E
