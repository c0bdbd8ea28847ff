#pragma once
#include <ATen/core/Tensor.h>

/// 3x3 convolutions of stride 1 and padding 1 with 2.25 times fewer multiplications: F(2x2, 3x3) of Lavin and Gray, "Fast algorithms for convolutional
/// neural networks", CVPR 2016. In float32 also with 4 times fewer: F(4x4, 3x3), large tiles. On the CPU; differs from a direct convolution by rounding alone
/// (1e-7 to 1e-6 of the outputs' size, large tiles up to 2e-6; in bfloat16, where what is multiplied is rounded once more behind the transforms, 4e-3).
///
/// Why not oneDNN: LibTorch asks it for direct convolutions alone, which take 1.6 to 2.7 times as long (in bfloat16 1.4 to 3 times), and for none where a
/// small image comes by itself.
namespace syncdr::kernels {

/// Whether this processor, these widths and this type have it. A rule of shapes and processor only: results never depend on a timing.
bool winograd_takes(int64_t in_channels, int64_t out_channels, at::ScalarType type);

/// The same for large tiles. Maps should have many of them (from 16 x 16 pixels on): with fewer, reading the weights takes longer than multiplying them.
bool winograd_takes_large_tiles(int64_t in_channels, int64_t out_channels, at::ScalarType type);

/// weight [out, in, 3, 3] -> [16 or, for large tiles, 36, out / 32, in, 32, 1], of bfloat16 [16, out / 32, in / 2, 32, 2]: transformed, in the order in which
/// products read it.
at::Tensor winograd_weight(const at::Tensor& weight, bool large_tiles = false);

/// input     [B, in, H, W], any layout (channels-last is read without a copy)
/// weight    of winograd_weight, in the type of the others
/// bias      [out], or [B or 1, out] for each sample
/// residual  [B, out, H, W] added to the result, or undefined
/// returns   [B, out, H, W], channels-last. Each output is computed alike whatever the batch and the number of threads.
at::Tensor winograd_convolution(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual = {});

/// Nearest upsampling to twice the size, then the convolution, with 4 times fewer multiplications. weight: not for large tiles.
/// [B, in, h, w] -> [B, out, 2 h, 2 w]
at::Tensor winograd_doubled(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace syncdr::kernels
