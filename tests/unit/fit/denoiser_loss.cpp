#include "losses.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "support/temporary_folder.h"
#include "syncdr/diffusion/checkpoint_writer.h"

namespace syncdr::fit {
namespace {

using diffusion::Prediction;

/// Signal-to-noise ratios 9, 1 and 0.
const std::vector<float> alphas{0.9F, 0.5F, 0.0F};

void expect_weights(Prediction prediction, double gamma, const std::vector<float>& expected) {
  const at::Tensor weights = min_snr_weights(alphas, prediction, gamma);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(weights[static_cast<int64_t>(i)].item<float>(), expected[i], 1e-6) << i;
}

TEST(MinSnrWeights, AreThoseOfThePaperForEachPrediction) {
  expect_weights(Prediction::epsilon, 5, {5.0F / 9, 1, 1});
  expect_weights(Prediction::v_prediction, 5, {5.0F / 10, 1.0F / 2, 0});
  expect_weights(Prediction::sample, 5, {5, 1, 0});
}

TEST(MinSnrWeights, GammaZeroWeighsAllTimesAlike) {
  for (const Prediction prediction : {Prediction::epsilon, Prediction::v_prediction, Prediction::sample}) expect_weights(prediction, 0, {1, 1, 1});
}

TEST(TrainingTarget, OfVelocityGivesOriginalAndNoiseBack) {
  const TemporaryFolder folder;
  diffusion::save_scheduler(folder.path(), {.zero_terminal_snr = true});
  const auto scheduler = diffusion::load_scheduler(folder.path());
  const at::Tensor originals = at::randn({4, 2, 3, 3}), noise = at::randn({4, 2, 3, 3}), times = at::tensor({0, 300, 998, 999}, at::kLong);
  const at::Tensor noisy = scheduler->add_noise(originals, noise, times), v = training_target(*scheduler, originals, noise, times);
  at::Tensor alpha = at::tensor(scheduler->alphas_cumprod()).index_select(0, times).view({4, 1, 1, 1});
  EXPECT_TRUE(at::allclose(alpha.sqrt() * noisy - (1 - alpha).sqrt() * v, originals, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose((1 - alpha).sqrt() * noisy + alpha.sqrt() * v, noise, 1e-4, 1e-5));
}

TEST(WeightedError, IsTheWeightedSumOfTheImagesMeans) {
  const at::Tensor output = at::ones({2, 1, 2, 2}, at::kBFloat16), target = at::zeros({2, 1, 2, 2});
  target[1].fill_(-1);
  EXPECT_FLOAT_EQ(weighted_error(output, target, at::tensor({0.5F, 2.0F})).item<float>(), 0.5F * 1 + 2 * 4);
}

}  // namespace
}  // namespace syncdr::fit
