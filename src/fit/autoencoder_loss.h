#pragma once
#include <ATen/core/Tensor.h>

#include "syncdr/fit/autoencoder.h"

/// Errors of reconstructions: both arguments [B, 3, H, W] in [-1, 1], results scalars, means over the batch.
namespace syncdr::fit {

/// Of pixels' channels; kind: "l1", "l2", "huber" (Huber, 1964, with its corner at 0.1, scaled to the slope of l1).
at::Tensor pixel_error(const at::Tensor& reconstruction, const at::Tensor& images, const std::string& kind);

/// The squared error of Cb and Cr (BT.601), summed, times 1 + saturation_weight * s, where s in [0, 1] is the image's saturation: its largest
/// channel less its smallest.
at::Tensor chroma_error(const at::Tensor& reconstruction, const at::Tensor& images, double saturation_weight);

/// The absolute error of the differences between neighbours, across plus down.
at::Tensor gradient_error(const at::Tensor& reconstruction, const at::Tensor& images);

/// The Kullback-Leibler divergence of normal distributions from the standard one, a value's mean (Kingma and Welling, ICLR 2014, appendix B).
/// mean, logvar [B, C, h, w]
at::Tensor kl_divergence(const at::Tensor& mean, const at::Tensor& logvar);

}  // namespace syncdr::fit
