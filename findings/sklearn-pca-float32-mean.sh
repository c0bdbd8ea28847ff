#!/usr/bin/env bash
# scikit-learn 1.9.1, numpy 2.4.6. Seen on 2026-11-30.
# Expected: PCA takes the mean off first, so that adding 100 to every value changes nothing but rounding; in float32 that leaves 5 digits of the data.
# Happens: with many rows and at most 1000 columns svd_solver="auto" takes "covariance_eigh", which forms X'X in the data's dtype and subtracts the mean's product afterwards. In float32
#   and with a mean of 100 the largest variance is 1.8 in place of 1.0, and a component points elsewhere altogether. "full" and "arpack" are right, and so is float64.
# Matters: whitening and compressing of features or pixels with a mean well above their spread, and plots of them, are nonsense, with fewer rows (another solver) right again.
# Source: sklearn/decomposition/_pca.py, _fit_full: C = X.T @ X; C -= n_samples * mean * mean.
. "$(dirname "$0")/common.sh"
python_packages scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np
from sklearn.decomposition import PCA
data = np.random.default_rng(0).standard_normal((20000, 50)) * np.linspace(1, 0.01, 50)
right = PCA(10, svd_solver="full").fit(data)
for mean in 0, 10, 100:
    for what, rows, solver in ("float32", 20000, "auto"), ("float32", 20000, "full"), ("float32", 20000, "arpack"), ("float32", 400, "auto"), ("float64", 20000, "auto"):
        pca = PCA(10, svd_solver=solver, random_state=0).fit((data[:rows] + mean).astype(what))
        reference = right if rows == 20000 else PCA(10, svd_solver="full").fit(data[:rows])
        print(f"mean {mean}, {what}, {rows} rows, {solver} ({pca._fit_svd_solver}): largest variance off by more than 1 %: {abs(pca.explained_variance_[0] / reference.explained_variance_[0] - 1) > 0.01},"
              f" a component more than 30 degrees off: {np.abs((pca.components_ * reference.components_).sum(1)).min() < 0.87}")
E
observe python "$tmp/program.py"
verdict <<'E'
mean 0, float32, 20000 rows, auto (covariance_eigh): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 0, float32, 20000 rows, full (full): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 0, float32, 20000 rows, arpack (arpack): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 0, float32, 400 rows, auto (full): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 0, float64, 20000 rows, auto (covariance_eigh): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 10, float32, 20000 rows, auto (covariance_eigh): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 10, float32, 20000 rows, full (full): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 10, float32, 20000 rows, arpack (arpack): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 10, float32, 400 rows, auto (full): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 10, float64, 20000 rows, auto (covariance_eigh): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 100, float32, 20000 rows, auto (covariance_eigh): largest variance off by more than 1 %: True, a component more than 30 degrees off: True
mean 100, float32, 20000 rows, full (full): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 100, float32, 20000 rows, arpack (arpack): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 100, float32, 400 rows, auto (full): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
mean 100, float64, 20000 rows, auto (covariance_eigh): largest variance off by more than 1 %: False, a component more than 30 degrees off: False
E
