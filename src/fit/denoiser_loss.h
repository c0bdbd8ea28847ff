#pragma once
#include <ATen/core/Tensor.h>

#include "syncdr/diffusion/scheduler.h"

namespace syncdr::fit {

/// Weights of the squared error at each training time, [T] float32: min(SNR, gamma) in terms of the predicted original (Hang et al., "Efficient diffusion
/// training via min-SNR weighting strategy", ICCV 2023), hence min(SNR, gamma) / SNR of an error in the noise and min(SNR, gamma) / (SNR + 1) of one in
/// v. gamma 0: ones.
at::Tensor min_snr_weights(const std::vector<float>& alphas_cumprod, diffusion::Prediction prediction, double gamma);

/// What the network is to say at times [B] int64: originals and noise [B, C, h, w] -> the same.
at::Tensor training_target(const diffusion::Scheduler& scheduler, const at::Tensor& originals, const at::Tensor& noise, const at::Tensor& times);

/// The sum over images of weight * mean squared error: [B, C, h, w] each, weights [B]. A scalar in float32.
at::Tensor weighted_error(const at::Tensor& output, const at::Tensor& target, const at::Tensor& weights);

}  // namespace syncdr::fit
