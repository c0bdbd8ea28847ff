#include "losses.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/huber_loss.h>
#include <ATen/ops/l1_loss.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mse_loss.h>

#include <algorithm>

#include "syncdr/core/error.h"

namespace syncdr::fit {
namespace {

constexpr double huber_corner = 0.1;

/// Differences between neighbours along a dimension.
at::Tensor neighbours(const at::Tensor& images, int64_t dim) {
  const int64_t length = images.size(dim) - 1;
  return images.narrow(dim, 1, length) - images.narrow(dim, 0, length);
}

double min_snr_weight(double alpha, diffusion::Prediction prediction, double gamma) {
  const double snr = alpha / (1 - alpha);
  switch (prediction) {
    case diffusion::Prediction::epsilon: return snr > gamma ? gamma / snr : 1;  // so written for an SNR of 0
    case diffusion::Prediction::v_prediction: return std::min(snr, gamma) / (snr + 1);
    case diffusion::Prediction::sample: break;
  }
  return std::min(snr, gamma);
}

}  // namespace

at::Tensor pixel_error(const at::Tensor& reconstruction, const at::Tensor& images, const std::string& kind) {
  if (kind == "l1") return at::l1_loss(reconstruction, images);
  if (kind == "l2") return at::mse_loss(reconstruction, images);
  SYNCDR_ASSERT(kind == "huber", "no pixel error \"{}\"", kind);
  return at::huber_loss(reconstruction, images, at::Reduction::Mean, huber_corner) / huber_corner;
}

at::Tensor chroma_error(const at::Tensor& reconstruction, const at::Tensor& images, double saturation_weight) {
  const at::Tensor error = reconstruction - images;  // Cb and Cr are linear: those of the difference are the difference of those
  const at::Tensor red = error.select(1, 0), green = error.select(1, 1), blue = error.select(1, 2);
  const at::Tensor luma = 0.299 * red + 0.587 * green + 0.114 * blue;
  const at::Tensor squares = (0.564 * (blue - luma)).square() + (0.713 * (red - luma)).square();
  const at::Tensor saturation = (images.amax(1) - images.amin(1)) / 2;
  return (squares * (1 + saturation_weight * saturation)).mean();
}

at::Tensor gradient_error(const at::Tensor& reconstruction, const at::Tensor& images) {
  const at::Tensor error = reconstruction - images;
  return neighbours(error, 3).abs().mean() + neighbours(error, 2).abs().mean();
}

at::Tensor kl_divergence(const at::Tensor& mean, const at::Tensor& logvar) { return (mean.square() + logvar.exp() - 1 - logvar).mean() / 2; }

at::Tensor min_snr_weights(const std::vector<float>& alphas_cumprod, diffusion::Prediction prediction, double gamma) {
  at::Tensor weights = at::empty({static_cast<int64_t>(alphas_cumprod.size())}, at::kFloat);
  auto* out = weights.mutable_data_ptr<float>();
  for (const float alpha : alphas_cumprod) *out++ = gamma == 0 ? 1.0F : static_cast<float>(min_snr_weight(alpha, prediction, gamma));
  return weights;
}

at::Tensor training_target(const diffusion::Scheduler& scheduler, const at::Tensor& originals, const at::Tensor& noise, const at::Tensor& times) {
  switch (scheduler.prediction()) {
    case diffusion::Prediction::epsilon: return noise;
    case diffusion::Prediction::v_prediction: return scheduler.velocity(originals, noise, times);
    case diffusion::Prediction::sample: break;
  }
  return originals;
}

at::Tensor weighted_error(const at::Tensor& output, const at::Tensor& target, const at::Tensor& weights) {
  const at::Tensor difference = output.to(at::kFloat) - target;
  return ((difference * difference).mean({1, 2, 3}) * weights).sum();
}

}  // namespace syncdr::fit
