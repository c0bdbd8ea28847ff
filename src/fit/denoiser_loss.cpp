#include "denoiser_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>

#include <algorithm>

namespace syncdr::fit {
namespace {

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
