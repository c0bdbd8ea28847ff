#pragma once
#include <ATen/core/Tensor.h>

/// Linear layers over rows, with what follows them in the same pass. Float32 or bfloat16 on the CPU; sums are float32.
///
/// Why not oneDNN: in its inner product a row's bits depend on how many rows come with it, and no operation behind it multiplies one half
/// of the columns by the other's GELU.
namespace syncdr::kernels {

/// Whether this processor, these widths and this type have it: a rule of shapes and processor only.
bool product_takes(int64_t in, int64_t out, at::ScalarType type);

/// weight [out, in] -> [out / 32, in, 32, 1], of bfloat16 [out / 32, in / 2, 32, 2]: the order in which products read it.
at::Tensor product_weight(const at::Tensor& weight);

/// x         [..., in]
/// weight    of product_weight, in the type of the others
/// bias      [out] or undefined
/// residual  [..., out] added to the result, or undefined
/// returns   [..., out]. Each row is computed alike whatever the number of rows and threads.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual = {});

/// Whether so many columns can be halved for geglu_product.
bool geglu_takes(int64_t out);

/// The first half of the columns times the GELU of the second: x [..., in] -> [..., out / 2].
at::Tensor geglu_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace syncdr::kernels
