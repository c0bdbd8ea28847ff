#pragma once
#include <ATen/core/Tensor.h>

namespace syncdr::nn {

/// Rows of unit length, x / max(|x|, 1e-12): [N, D] -> the same. As PyTorch's normalize, whose header alone would cost every source of models a second.
inline at::Tensor unit_rows(const at::Tensor& rows) { return rows.div(rows.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12).expand_as(rows)); }

}  // namespace syncdr::nn
