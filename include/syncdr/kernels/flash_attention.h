#pragma once
#include <ATen/core/Tensor.h>

/// Softmax attention for many tokens and narrow heads, float32 or bfloat16 on the CPU: float32 scores of a few queries at a time, which stay in the cache.
///
/// Why not oneDNN: LibTorch's attention does not call it on CPUs, and takes 1 to 1.7 times as long (in bfloat16 2 to 3 times).
namespace syncdr::kernels {

/// Whether this processor, these shapes and their type have it. Few queries would not repay packing keys and values.
bool attention_takes(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

/// query [B, heads, N, D], key and value [B, heads, L, D] (any strides, but D's must be 1) -> [B, N, heads * D]. Each query's result is computed alike
/// whatever the batch and the number of threads.
at::Tensor flash_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

}  // namespace syncdr::kernels
