#pragma once
#include <ATen/core/Tensor.h>

#include <limits>

/// The passes over memory of batch normalisation in training (Ioffe and Szegedy, ICML 2015), with the residual's addition and the activation behind it: three
/// forward and five backward, where LibTorch's operators one after the other take eight and eleven. float32 or bfloat16 on the CPU, statistics in float64.
/// What lies between the passes, statistics of all ranks for one, is up to the caller.
///
/// Why not oneDNN: its batch normalisation can do this, but LibTorch does not call it for tensors of its own layout.
namespace syncdr::kernels {

/// What comes behind the normalisation: y = clamp(x factors + shifts + residual, low, high). Zero and infinity are a ReLU, zero and six a ReLU6.
struct Clamp {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

/// Whether this processor has it for x: [B, C, H, W] channels-last, C a multiple of 8, in one of the two types.
bool batch_norm_takes(const at::Tensor& x);

/// x -> [2, C] float64: each channel's mean and biased variance. Do not depend on the number of threads. x must not be empty.
at::Tensor batch_moments(const at::Tensor& x);

/// factors, shifts [C] float32; residual like x, or undefined -> clamp(x factors + shifts + residual), like x.
at::Tensor scale_and_clamp(const at::Tensor& x, const at::Tensor& factors, const at::Tensor& shifts, const at::Tensor& residual, Clamp clamp);

/// What scale_and_clamp was called with, and its result. mean [C] float32.
struct NormalisedBatch {
  at::Tensor x, factors, shifts, mean;
  at::Tensor y;  ///< read where there was a residual, else may be undefined
  bool residual = false;
  Clamp clamp;
};

/// dy, like y -> dz, dy where nothing was clamped, and [2, C] float64: each channel's sums of dz and of dz (x - mean). dz is the residual's gradient; without a
/// residual it is undefined, and input_gradient takes dy.
struct GradientSums {
  at::Tensor dz, sums;
};
GradientSums gradient_sums(const at::Tensor& dy, const NormalisedBatch& batch);

/// a dz + b x + c of each channel: a, b, c [C] float32; `gradient` is dz where there was a residual, else dy.
at::Tensor input_gradient(const at::Tensor& gradient, const NormalisedBatch& batch, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c);

}  // namespace syncdr::kernels
