#include "lora.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

#include "syncdr/core/error.h"
#include "syncdr/diffusion/unet.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/weights.h"

namespace syncdr::fit {
namespace {

diffusion::UNet lora_unet() {
  diffusion::UNet unet(diffusion::UNetConfig{.down_blocks = {"CrossAttnDownBlock2D", "DownBlock2D"},
                                             .up_blocks = {"UpBlock2D", "CrossAttnUpBlock2D"},
                                             .channels = {8, 16},
                                             .layers = {1, 1},
                                             .heads = {2, 2},
                                             .transformer_layers = {1, 1},
                                             .only_cross_attention = {false, false},
                                             .text_width = 6,
                                             .norm_groups = 4});
  nn::initialise(*unet, "unet", 3);
  unet->eval();
  return unet;
}

class LoraTest : public testing::Test {
 protected:
  at::Tensor run() { return unet_->forward(sample_, 40.0, diffusion::TextContext(text_)); }
  /// As if some steps of training had moved the additions.
  void train() {
    const torch::NoGradGuard no_grad;
    for (at::Tensor& parameter : lora_.parameters()) parameter.add_(0.3 * at::randn(parameter.sizes()));
  }

  diffusion::UNet unet_ = lora_unet();
  Lora lora_{*unet_, 3, 7};
  at::Tensor sample_ = at::randn({2, 4, 8, 8}), text_ = at::randn({2, 5, 6});
};

TEST_F(LoraTest, BeginsAsTheNetworkItself) {
  const at::Tensor before = run();
  lora_.put_in();
  EXPECT_TRUE(run().equal(before));
}

TEST_F(LoraTest, MergedWeightsComputeWhatTheAdditionsDid) {
  const torch::NoGradGuard no_grad;
  const at::Tensor before = run();
  train();
  lora_.put_in();
  const at::Tensor with_additions = run();
  EXPECT_GT((with_additions - before).abs().max().item<float>(), 1e-3);
  lora_.merge();
  diffusion::UNet other = lora_unet();
  nn::load_state(*other, nn::state_of(*unet_), "merged");
  EXPECT_TRUE(at::allclose(other->forward(sample_, 40.0, diffusion::TextContext(text_)), with_additions, 1e-5, 1e-6));
}

TEST_F(LoraTest, ItsTensorsAddToTheNetworkWhatMergingDoes) {
  const torch::NoGradGuard no_grad;
  train();
  io::NamedTensors weights;
  for (const auto& [name, tensor] : nn::state_of(*unet_)) weights.emplace(name, tensor.clone());
  const io::NamedTensors tensors = lora_.tensors();
  EXPECT_EQ(tensors.size(), lora_.parameters().size());
  lora_.merge();
  for (const auto& [name, merged] : nn::state_of(*unet_)) {
    const std::string layer = name.substr(0, name.rfind('.'));
    if (!name.ends_with(".weight") || !tensors.contains(layer + ".lora_A.weight")) continue;
    const at::Tensor sum = weights.at(name) + at::matmul(tensors.at(layer + ".lora_B.weight"), tensors.at(layer + ".lora_A.weight"));
    EXPECT_TRUE(at::allclose(sum, merged, 1e-6, 1e-6)) << name;
    EXPECT_FALSE(at::allclose(weights.at(name), merged, 1e-3, 1e-3)) << name;
  }
}

TEST_F(LoraTest, SplitGivesTheParametersBackToTheBit) {
  const std::string before = nn::state_hash(*unet_);
  train();
  lora_.merge();
  EXPECT_NE(nn::state_hash(*unet_), before);
  lora_.split();
  EXPECT_EQ(nn::state_hash(*unet_), before);
}

TEST_F(LoraTest, EveryAdditionGetsAGradientAndNothingElse) {
  for (at::Tensor& parameter : unet_->parameters()) parameter.set_requires_grad(false);
  train();
  lora_.put_in();
  run().square().sum().backward();
  // 3 transformers of two attentions with four projections each, in A and B
  EXPECT_EQ(lora_.parameters().size(), 4u * 2 * 4 * 2);
  for (const auto& item : lora_.named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_GT(item.value().grad().abs().max().item<float>(), 0) << item.key();
  }
  for (const at::Tensor& parameter : unet_->parameters()) EXPECT_FALSE(parameter.grad().defined());
}

TEST(Lora, RefusesANetworkWithoutAttention) {
  torch::nn::Linear layer(2, 2);
  EXPECT_THROW(Lora(*layer, 2, 1), core::UsageError);
}

}  // namespace
}  // namespace syncdr::fit
