#include "syncdr/training/ema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include "syncdr/core/error.h"
#include "syncdr/nn/batch_norm.h"
#include "syncdr/nn/weights.h"

using namespace syncdr;
using training::Ema;

namespace {

void fill(torch::nn::Module& module, double value) {
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : nn::state_of(module)) tensor.fill_(value);
}

}  // namespace

TEST(Ema, FollowsTheRampedDecayAndCopiesIntegers) {
  nn::BatchNorm module(2);
  fill(*module, 1);
  Ema ema(*module, 0.15);
  double expected = 1;
  for (int n = 0; n < 4; ++n) {
    fill(*module, n + 2);
    ema.update(*module);
    const double decay = std::min(0.15, (1.0 + n) / (10.0 + n));  // 0.1, then the given one
    expected = decay * expected + (1 - decay) * (n + 2);
    EXPECT_NEAR(ema.average().at("weight")[1].item<double>(), expected, 1e-6);
    EXPECT_NEAR(ema.average().at("running_var")[0].item<double>(), expected, 1e-6);
    EXPECT_EQ(ema.average().at("num_batches_tracked").item<int64_t>(), n + 2);
  }
  EXPECT_EQ(ema.updates(), 4);
}

TEST(Ema, BeginsAsACopyOfTheWeights) {
  torch::nn::Linear module(3, 2);
  const Ema ema(*module, 0.99);
  const at::Tensor before = module->weight.detach().clone();
  fill(*module, 0);
  EXPECT_TRUE(ema.average().at("weight").equal(before));
  EXPECT_FALSE(ema.average().at("weight").requires_grad());
}

TEST(Ema, LoadedStateContinuesBitForBit) {
  torch::manual_seed(3);
  torch::nn::Linear module(3, 2);
  Ema ema(*module, 0.9);
  fill(*module, 0.3);
  ema.update(*module);
  Ema other(*torch::nn::Linear(3, 2), 0.9);
  other.load(ema.average(), ema.updates(), "saved");
  fill(*module, -0.7);
  ema.update(*module);
  other.update(*module);
  for (const auto& [name, tensor] : ema.average()) EXPECT_TRUE(tensor.equal(other.average().at(name))) << name;
}

TEST(Ema, StateThatDoesNotFitIsRejectedByName) {
  Ema ema(*torch::nn::Linear(3, 2), 0.9);
  const auto message = [&](const io::NamedTensors& average) -> std::string {
    try {
      ema.load(average, 1, "step-4");
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "";
  };
  const io::NamedTensors good = ema.average();
  io::NamedTensors missing = good, left_over = good, shape = good;
  missing.erase("bias");
  left_over["scale"] = at::zeros({1});
  shape["weight"] = at::zeros({3, 2});
  EXPECT_THAT(message(missing), testing::HasSubstr("step-4: \"bias\" of the moving average missing"));
  EXPECT_THAT(message(left_over), testing::HasSubstr("\"scale\" of the moving average not known"));
  EXPECT_THAT(message(shape), testing::HasSubstr("is Float [3, 2], the model needs Float [2, 3]"));
  EXPECT_THROW(ema.load(good, -1, "step-4"), core::DataError);
}

TEST(Ema, DecayLiesBelowOne) {
  EXPECT_THROW(Ema(*torch::nn::Linear(1, 1), 1.0), core::UsageError);
  EXPECT_THROW(Ema(*torch::nn::Linear(1, 1), -0.1), core::UsageError);
}
