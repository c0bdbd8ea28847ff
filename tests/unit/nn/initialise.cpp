#include "syncdr/nn/initialise.h"

#include <gtest/gtest.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "syncdr/nn/weights.h"

namespace syncdr::nn {
namespace {

torch::nn::Sequential small_model(const std::string& prefix, uint64_t seed) {
  using namespace torch::nn;
  Sequential model(Conv2d(Conv2dOptions(50, 40, 3)), GroupNorm(GroupNormOptions(4, 40)), Linear(400, 30), Embedding(500, 20));
  initialise(*model, prefix, seed);
  return model;
}

TEST(Initialise, IsAFunctionOfSeedAndPrefix) {
  EXPECT_EQ(state_hash(*small_model("unet", 1)), state_hash(*small_model("unet", 1)));
  EXPECT_NE(state_hash(*small_model("unet", 1)), state_hash(*small_model("vae", 1)));
  EXPECT_NE(state_hash(*small_model("unet", 1)), state_hash(*small_model("unet", 2)));
}

TEST(Initialise, HasPyTorchsDistributionsAndLeavesNorms) {
  const auto state = state_of(*small_model("unet", 1));
  const double bound = 1 / std::sqrt(450.0), deviation = bound / std::sqrt(3.0);  // fan in: 50 channels of 3x3
  EXPECT_LE(state.at("0.weight").abs().max().item<double>(), bound);
  EXPECT_NEAR(state.at("0.weight").std().item<double>(), deviation, 0.02 * deviation);
  EXPECT_LE(state.at("0.bias").abs().max().item<double>(), bound);
  EXPECT_GT(state.at("0.bias").abs().max().item<double>(), 0.5 * bound);
  EXPECT_LE(state.at("2.weight").abs().max().item<double>(), 1 / 20.0);
  EXPECT_TRUE(state.at("1.weight").eq(1).all().item<bool>());
  EXPECT_TRUE(state.at("1.bias").eq(0).all().item<bool>());
  EXPECT_NEAR(state.at("3.weight").std().item<double>(), 0.02, 0.001);
}

}  // namespace
}  // namespace syncdr::nn
