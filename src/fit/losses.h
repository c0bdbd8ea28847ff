#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "syncdr/diffusion/scheduler.h"

namespace syncdr::fit {

// Errors of reconstructions: both arguments [B, 3, H, W] in [-1, 1], results scalars, means over the batch.

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

/// Weights of the denoiser's squared error at each training time, [T] float32: min(SNR, gamma) in terms of the predicted original (Hang et al., "Efficient
/// diffusion training via min-SNR weighting strategy", ICCV 2023), hence min(SNR, gamma) / SNR of an error in the noise and min(SNR, gamma) / (SNR + 1) of
/// one in v. gamma 0: ones.
at::Tensor min_snr_weights(const std::vector<float>& alphas_cumprod, diffusion::Prediction prediction, double gamma);

/// What the denoiser is to say at times [B] int64: originals and noise [B, C, h, w] -> the same.
at::Tensor training_target(const diffusion::Scheduler& scheduler, const at::Tensor& originals, const at::Tensor& noise, const at::Tensor& times);

/// The sum over images of weight * mean squared error: [B, C, h, w] each, weights [B]. A scalar in float32.
at::Tensor weighted_error(const at::Tensor& output, const at::Tensor& target, const at::Tensor& weights);

}  // namespace syncdr::fit
