#pragma once
#include <ATen/core/Tensor.h>

/// Group normalization and the activation behind it in two passes over the map, float32 or bfloat16 on the CPU.
///
/// Why not oneDNN: LibTorch does not call it for group norms, and takes 1.4 to 2 times as long, on some maps 20 times.
namespace syncdr::kernels {

/// Whether this processor, this many channels and this type have it.
bool fast_norm_takes(int64_t channels, at::ScalarType type);

/// x [B, C, H, W] (channels-last is read without a copy), weight and bias [C], all of one type -> the same shape, channels-last; behind SiLU where asked for. A
/// sample's result is the same whatever the batch and the number of threads.
at::Tensor fast_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double epsilon, bool with_silu);

}  // namespace syncdr::kernels
