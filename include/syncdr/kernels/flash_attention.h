#pragma once
#include <ATen/core/Tensor.h>

/// Softmax attention for many tokens and narrow heads, float32 on the CPU: scores of a few queries at a time, which stay in the cache.
///
/// Why not oneDNN: LibTorch's attention does not call it on CPUs, and takes 1.2 to 1.3 times as long.
namespace syncdr::kernels {

/// Whether this processor and these shapes have it. Few queries would not repay packing keys and values.
bool attention_takes(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

/// query [B, heads, N, D], key and value [B, heads, L, D] (any strides, but D's must be 1) -> [B, N, heads * D]. Each query's result is computed alike
/// whatever the batch and the number of threads.
at::Tensor flash_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

}  // namespace syncdr::kernels
