#pragma once
#include <ATen/core/Tensor.h>

/// 3x3 convolutions of stride 1 and padding 1 with 2.25 times fewer multiplications: F(2x2, 3x3) of Lavin and Gray, "Fast algorithms for convolutional
/// neural networks", CVPR 2016. Float32 on the CPU; differs from a direct convolution by rounding alone (1e-7 to 1e-6 of the outputs' size).
///
/// Why not oneDNN: LibTorch asks it for direct convolutions alone, which take 1.6 to 2.7 times as long, and for none where a small image
/// comes by itself.
namespace syncdr::kernels {

/// Whether this processor and these widths have it. A rule of shapes and processor only: results never depend on a timing.
bool winograd_takes(int64_t in_channels, int64_t out_channels);

/// weight [out, in, 3, 3] -> [16, out / 32, in, 32]: transformed, in the order in which products read it.
at::Tensor winograd_weight(const at::Tensor& weight);

/// input     [B, in, H, W] float32, any layout (channels-last is read without a copy)
/// weight    of winograd_weight
/// bias      [out], or [B or 1, out] for each sample
/// residual  [B, out, H, W] added to the result, or undefined
/// returns   [B, out, H, W], channels-last. Each output is computed alike whatever the batch and the number of threads.
at::Tensor winograd_convolution(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual = {});

}  // namespace syncdr::kernels
