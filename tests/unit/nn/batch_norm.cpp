#include "syncdr/nn/batch_norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function.h>
#include <torch/cuda.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

using namespace syncdr;

namespace {

std::vector<at::Device> devices() {
  std::vector<at::Device> all{at::kCPU};
  if (torch::cuda::is_available()) all.emplace_back(at::kCUDA, 0);
  return all;
}

// As if a second rank held the same batch: sums double, so means and variances stay.
void twice(at::Tensor& tensor) { tensor.mul_(2); }

struct Result {
  at::Tensor output, input_gradient;
  std::vector<at::Tensor> parameter_gradients;
};

Result run(nn::BatchNorm& norm, const at::Tensor& input, const at::Tensor& output_gradient) {
  norm->zero_grad();
  const at::Tensor x = input.detach().requires_grad_();
  Result result{.output = norm->forward(x)};
  result.output.backward(output_gradient);
  result.input_gradient = x.grad();
  for (const at::Tensor& parameter : norm->parameters()) result.parameter_gradients.push_back(parameter.grad().clone());
  return result;
}

nn::BatchNorm make_norm(int64_t channels, bool affine, at::Device device, at::ScalarType type) {
  nn::BatchNorm norm(channels, affine);
  const torch::NoGradGuard no_grad;
  if (affine) {
    norm->weight.uniform_(0.5, 2);
    norm->bias.normal_();
  }
  norm->to(device, type);
  norm->num_batches_tracked = norm->num_batches_tracked.to(at::kLong);
  return norm;
}

struct Case {
  std::vector<int64_t> shape;
  bool affine;
  at::MemoryFormat format;
};

}  // namespace

TEST(BatchNorm, BehindAConvolutionGivesTheSameWhetherItBecomesPartOfItOrNot) {
  at::manual_seed(4);
  torch::nn::Conv2d convolution(torch::nn::Conv2dOptions(6, 8, 3).stride(2).padding(1).groups(2).bias(false));
  nn::BatchNorm norm = make_norm(8, /*affine=*/true, at::kCPU, at::kFloat);
  const at::Tensor input = at::randn({3, 6, 9, 7});
  norm->forward(3 * convolution->forward(input) + 2);  // statistics that are not those of a new one
  for (const bool in_training : {false, true}) {
    norm->train(in_training);
    norm->mode = nn::BatchNormMode::frozen;
    const at::Tensor expected = norm->forward(convolution->forward(input)),
                     padded = norm->forward(at::conv2d(input, convolution->weight, {}, 2, at::IntArrayRef{0, 2}, 1, 2));
    const torch::NoGradGuard no_grad;
    EXPECT_TRUE(norm->after(convolution, input).allclose(expected, 1e-5, 1e-5));
    EXPECT_TRUE(norm->after(convolution, input, {0, 2}).allclose(padded, 1e-5, 1e-5));
  }
  norm->mode = nn::BatchNormMode::local;
  const at::Tensor before = norm->running_mean.clone(), of_batch = norm->after(convolution, input);
  EXPECT_FALSE(norm->running_mean.equal(before)) << "statistics of the batch are learned";
  EXPECT_NEAR(((of_batch.mean({0, 2, 3}) - norm->bias).abs().max().item<double>()), 0, 1e-5);
}

TEST(BatchNorm, TwoRanksWithEqualBatchesGiveWhatOneGives) {
  torch::manual_seed(1);
  const Case cases[] = {{{6, 5}, true, at::MemoryFormat::Contiguous},
                        {{6, 5}, false, at::MemoryFormat::Contiguous},
                        {{3, 5, 4, 7}, true, at::MemoryFormat::Contiguous},
                        {{3, 5, 4, 7}, true, at::MemoryFormat::ChannelsLast},
                        {{3, 5, 4, 7}, false, at::MemoryFormat::ChannelsLast}};
  for (const at::Device device : devices()) {
    for (const Case& c : cases) {
      const auto options = at::TensorOptions(device).dtype(at::kDouble);
      const at::Tensor input = (at::randn(c.shape, options) * 3 + 10).contiguous(c.format), dy = at::randn(c.shape, options).contiguous(c.format);
      nn::BatchNorm local = make_norm(5, c.affine, device, at::kDouble), global = make_norm(5, c.affine, device, at::kDouble);
      nn::load_state(*global, nn::state_of(*local), "local");
      nn::set_batch_norm_mode(*global, nn::BatchNormMode::global, twice);
      const Result expected = run(local, input, dy), result = run(global, input, dy);
      EXPECT_TRUE(result.output.allclose(expected.output, 1e-12, 1e-12));
      EXPECT_TRUE(result.input_gradient.allclose(expected.input_gradient, 1e-11, 1e-11));
      for (size_t k = 0; k < result.parameter_gradients.size(); ++k) {
        EXPECT_TRUE(result.parameter_gradients[k].allclose(expected.parameter_gradients[k], 1e-11, 1e-11)) << "parameters' gradients stay local";
      }
      EXPECT_TRUE(result.output.is_contiguous(c.format));
      EXPECT_TRUE(result.input_gradient.is_contiguous(c.format));
      EXPECT_TRUE(global->running_mean.allclose(local->running_mean, 1e-12));
      const double n = static_cast<double>(input.numel()) / 5;
      const at::Tensor biased = (local->running_var - 0.9) / 0.1 * (n - 1) / n;
      EXPECT_TRUE(global->running_var.allclose(0.9 + 0.1 * biased * 2 * n / (2 * n - 1), 1e-10)) << "the unbiased variance is the global batch's";
      EXPECT_EQ(global->num_batches_tracked.item<int64_t>(), 1);
    }
  }
}

TEST(BatchNorm, GlobalGradientIsTheDifferenceQuotient) {
  torch::manual_seed(2);
  nn::BatchNorm norm = make_norm(3, true, at::kCPU, at::kDouble);
  // A second rank that holds constants: the sums of its values 1 and 3 in each channel. Its loss has no gradient.
  int calls = 0;
  nn::set_batch_norm_mode(*norm, nn::BatchNormMode::global, [&](at::Tensor& message) {
    if (++calls % 2 == 1) message += at::tensor({2., 4., 4., 4., 10., 10., 10.});  // count, sums, sums of squares; the backward message gets 0
  });
  const at::Tensor input = at::randn({4, 3}, at::kDouble), dy = at::randn({4, 3}, at::kDouble);
  const at::Tensor gradient = run(norm, input, dy).input_gradient;
  const torch::NoGradGuard no_grad;
  const auto loss = [&](const at::Tensor& x) {
    calls = 0;
    return (norm->forward(x) * dy).sum().item<double>();
  };
  for (int64_t k = 0; k < input.numel(); ++k) {
    at::Tensor up = input.clone(), down = input.clone();
    up.view({-1})[k] += 1e-5;
    down.view({-1})[k] -= 1e-5;
    EXPECT_NEAR(gradient.view({-1})[k].item<double>(), (loss(up) - loss(down)) / 2e-5, 1e-8) << k;
  }
}

TEST(BatchNorm, GlobalKeepsPrecisionFarFromZero) {
  torch::manual_seed(3);
  nn::BatchNorm norm(2);
  nn::set_batch_norm_mode(*norm, nn::BatchNormMode::global, twice);
  const at::Tensor input = at::randn({64, 2}) + 1000;  // E[x^2] - m^2 in float would have lost the variance
  const at::Tensor expected = at::batch_norm(input.to(at::kDouble), {}, {}, {}, {}, true, 0.1, 1e-5, false).to(at::kFloat);
  EXPECT_TRUE(norm->forward(input).allclose(expected, 1e-3, 1e-3));
}

TEST(BatchNorm, GlobalTakesHalfPrecisionInputWithFloatParameters) {
  torch::manual_seed(4);
  nn::BatchNorm global = make_norm(8, true, at::kCPU, at::kFloat), local = make_norm(8, true, at::kCPU, at::kFloat);
  nn::load_state(*local, nn::state_of(*global), "global");
  nn::set_batch_norm_mode(*global, nn::BatchNormMode::global, twice);
  const at::Tensor input = at::randn({4, 8, 5, 5}).to(at::kBFloat16), dy = at::randn({4, 8, 5, 5}).to(at::kBFloat16);
  const Result expected = run(local, input, dy), result = run(global, input, dy);
  EXPECT_EQ(result.output.scalar_type(), at::kBFloat16);
  EXPECT_EQ(result.input_gradient.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(result.output.allclose(expected.output, 0.02, 0.02));
  EXPECT_TRUE(result.input_gradient.allclose(expected.input_gradient, 0.02, 0.05));
  EXPECT_TRUE(result.parameter_gradients[0].allclose(expected.parameter_gradients[0], 0.01, 0.05));
}

TEST(BatchNorm, ThoseOverRanksAreCountedAsTheyAreNow) {
  torch::nn::Sequential layers(nn::BatchNorm(2), torch::nn::Linear(2, 2), nn::BatchNorm(2, /*affine=*/false));
  EXPECT_EQ(nn::batch_norms_over_ranks(*layers), 0) << "local";
  nn::set_batch_norm_mode(*layers, nn::BatchNormMode::global, twice);
  EXPECT_EQ(nn::batch_norms_over_ranks(*layers), 2);
  layers->ptr<nn::BatchNormImpl>(0)->eval();
  EXPECT_EQ(nn::batch_norms_over_ranks(*layers), 1) << "a layer that stays";
  nn::set_batch_norm_mode(*layers, nn::BatchNormMode::frozen, {});
  EXPECT_EQ(nn::batch_norms_over_ranks(*layers), 0);
}

TEST(BatchNorm, TakesItsEpsilonInEveryMode) {
  torch::manual_seed(5);
  nn::BatchNorm local(3, /*affine=*/true, /*epsilon=*/0.5), global(3, true, 0.5);
  for (nn::BatchNorm& norm : {std::ref(local), std::ref(global)}) {
    norm->to(at::kDouble);
    norm->num_batches_tracked = norm->num_batches_tracked.to(at::kLong);
  }
  nn::set_batch_norm_mode(*global, nn::BatchNormMode::global, twice);
  const at::Tensor input = at::randn({8, 3}, at::kDouble), dy = at::randn({8, 3}, at::kDouble);
  const Result expected = run(local, input, dy), result = run(global, input, dy);
  const at::Tensor centred = input - input.mean(0);
  EXPECT_TRUE(expected.output.allclose(centred / (centred.square().mean(0) + 0.5).sqrt(), 1e-12, 1e-12));
  EXPECT_TRUE(result.output.allclose(expected.output, 1e-12, 1e-12));
  EXPECT_TRUE(result.input_gradient.allclose(expected.input_gradient, 1e-11, 1e-11));
  EXPECT_TRUE(result.parameter_gradients[0].allclose(expected.parameter_gradients[0], 1e-11, 1e-11));
  local->eval();
  EXPECT_TRUE(local->forward(input).allclose((input - local->running_mean) / (local->running_var + 0.5).sqrt(), 1e-12, 1e-12));
}

TEST(BatchNorm, GlobalWithOneRankIsTheBuiltInOperator) {
  nn::BatchNorm norm(4);
  nn::set_batch_norm_mode(*norm, nn::BatchNormMode::global, {});
  const at::Tensor output = norm->forward(at::randn({3, 4, 2, 2}).requires_grad_());
  EXPECT_THAT(output.grad_fn()->name(), testing::HasSubstr("NativeBatchNorm"));
}

TEST(BatchNorm, FrozenUsesAndKeepsRunningAveragesButLearns) {
  torch::manual_seed(5);
  nn::BatchNorm norm = make_norm(4, true, at::kCPU, at::kFloat);
  norm->running_mean.fill_(2);
  norm->running_var.fill_(9);
  nn::set_batch_norm_mode(*norm, nn::BatchNormMode::frozen, twice);
  const at::Tensor input = at::randn({3, 4});
  const Result result = run(norm, input, at::ones({3, 4}));
  EXPECT_TRUE(result.output.allclose((input - 2) / std::sqrt(9 + 1e-5) * norm->weight + norm->bias, 1e-5, 1e-5));
  EXPECT_TRUE(norm->running_mean.equal(at::full({4}, 2.f)));
  EXPECT_TRUE(norm->running_var.equal(at::full({4}, 9.f)));
  EXPECT_EQ(norm->num_batches_tracked.item<int64_t>(), 0);
  EXPECT_TRUE(result.parameter_gradients[1].allclose(at::full({4}, 3.f)));
}

TEST(BatchNorm, EvaluationUsesRunningAveragesInEveryMode) {
  const at::Tensor input = at::randn({2, 3});
  for (const auto mode : {nn::BatchNormMode::global, nn::BatchNormMode::local, nn::BatchNormMode::frozen}) {
    nn::BatchNorm norm(3);
    nn::set_batch_norm_mode(*norm, mode, [](at::Tensor&) { FAIL() << "an evaluation must not wait for other ranks"; });
    norm->eval();
    EXPECT_TRUE(norm->forward(input).allclose(input / std::sqrt(1 + 1e-5), 1e-5, 1e-6));
  }
}

TEST(BatchNorm, OneValueAChannelIsAUsersError) {
  nn::BatchNorm norm(3);
  EXPECT_THROW(norm->forward(at::randn({1, 3})), core::UsageError);
  EXPECT_NO_THROW(norm->forward(at::randn({1, 3, 1, 2})));
}

TEST(BatchNorm, WrongNumberOfChannelsIsABug) { EXPECT_THROW(nn::BatchNorm(3)->forward(at::randn({2, 4})), core::BugError); }

TEST(SetBatchNormMode, ReachesNestedModules) {
  torch::nn::ModuleList inner;
  nn::BatchNorm norm(3);
  inner->push_back(norm);
  torch::nn::ModuleList outer;
  outer->push_back(inner);
  nn::set_batch_norm_mode(*outer, nn::BatchNormMode::frozen, {});
  EXPECT_EQ(norm->mode, nn::BatchNormMode::frozen);
}

TEST(BatchNormMode, HasAName) {
  EXPECT_EQ(nn::batch_norm_mode_from_name("global"), nn::BatchNormMode::global);
  EXPECT_EQ(nn::batch_norm_mode_from_name("local"), nn::BatchNormMode::local);
  EXPECT_EQ(nn::batch_norm_mode_from_name("frozen"), nn::BatchNormMode::frozen);
  EXPECT_THROW(nn::batch_norm_mode_from_name("sync"), core::UsageError);
}
