#pragma once
#include <ATen/core/Tensor.h>

namespace syncdr::diffusion {

/// What two domains share of an image: dark lines on white where it changes, equally strong in faint and strong drawings.
///
///     1 - 2 min(1, g / (q + 0.03))
///
/// g: the gradient's magnitude (central differences, borders replicated) of channels in [0, 1] after a Gaussian blur, the largest over the channels;
/// q: the image's own 96 % quantile of g (linear interpolation between neighbours).
///
/// The blur's kernel reaches 4 sigma to each side (rounded as OpenCV's GaussianBlur does for floating point), borders replicated.
///
/// images [B, C, H, W] uint8 or float in [-1, 1]; sigmas [B] float32, the blurs' standard deviations in pixels, above 0 to 100, best on the CPU.
/// Returns [B, 1, H, W] float32 in [-1, 1]. Each image's map depends on it and its sigma alone, bit for bit: not on its batch or the number of threads.
/// Throws UsageError on other shapes and sigmas.
at::Tensor structure_map(const at::Tensor& images, const at::Tensor& sigmas);

}  // namespace syncdr::diffusion
