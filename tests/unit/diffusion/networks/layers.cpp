#include "networks/layers.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <torch/utils.h>

#include "diffusion/tiny_checkpoint.h"
#include "syncdr/core/error.h"
#include "syncdr/kernels/winograd.h"

namespace syncdr::diffusion::layers_tests {
namespace {

TEST(Layers, HaveTheShapesThatTheyWereAskedFor) {
  const Dense layer(300, 400), without_bias(3, 4, false);
  const Conv3x3 convolution(20, 30);
  const Conv1x1 projection(5, 6);
  EXPECT_EQ(layer->weight.sizes(), (std::vector<int64_t>{400, 300}));
  EXPECT_EQ(layer->bias.sizes(), (std::vector<int64_t>{400}));
  EXPECT_FALSE(without_bias->bias.defined());
  EXPECT_EQ(convolution->weight.sizes(), (std::vector<int64_t>{30, 20, 3, 3}));
  EXPECT_EQ(convolution->options.in_channels(), 20);
  EXPECT_EQ(projection->weight.sizes(), (std::vector<int64_t>{6, 5, 1, 1}));
  EXPECT_EQ(embedding(5, 2)->weight.sizes(), (std::vector<int64_t>{5, 2}));
  for (const at::Tensor& parameter : layer->parameters()) EXPECT_TRUE(parameter.requires_grad());
}

TEST(Layers, ANetworkIsTheSameOnceItsWeightsAreRead) {
  const torch::NoGradGuard no_grad;
  UNet drawn = TinyCheckpoint::make_unet(), read(drawn->config());
  read->eval();
  nn::load_state(*read, nn::state_of(*drawn), "test");
  EXPECT_EQ(nn::state_hash(*read), nn::state_hash(*drawn));
  const at::Tensor sample = at::randn({1, 4, 6, 5}), text = at::randn({1, 7, 6});
  EXPECT_TRUE(at::equal(read->forward(sample, 3.0, text), drawn->forward(sample, 3.0, text)));
}

class PackedLayers : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!kernels::winograd_takes(32, 64, GetParam())) GTEST_SKIP() << "not on this processor";
  }
  at::Tensor normal(at::IntArrayRef shape) const { return at::randn(shape).to(GetParam()); }
};

TEST_P(PackedLayers, ComputeTheSameInInferenceAndRefuseAllElse) {
  Conv3x3 convolution(32, 64), doubling(32, 64);
  doubling->expect_small_maps();
  Dense layer(32, 64);
  nn::initialise(*convolution, "convolution", 1);
  nn::initialise(*doubling, "doubling", 1);
  nn::initialise(*layer, "layer", 1);
  convolution->to(GetParam());
  doubling->to(GetParam());
  layer->to(GetParam());
  const at::Tensor maps = normal({2, 32, 6, 5}), rows = normal({2, 9, 32});
  const auto all = [&] {
    const torch::NoGradGuard no_grad;
    return std::vector<at::Tensor>{convolution->forward(maps), doubling->forward(maps), doubling->forward_doubled(maps), layer->forward(rows),
                                   layer->forward_geglu(rows)};
  };
  const auto plain = all();
  {
    const torch::NoGradGuard no_grad;
    convolution->pack();
    doubling->pack();
    layer->pack();
  }
  const auto packed = all();
  const double bound = GetParam() == at::kFloat ? 2e-6 : 1e-2;
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_LT(((packed[i] - plain[i]).norm() / plain[i].norm()).item<double>(), bound) << i;
  EXPECT_EQ(convolution->weight.numel() + layer->weight.numel(), 0) << "they are not kept twice";
  EXPECT_THROW(convolution->forward(maps), core::BugError);
  EXPECT_THROW(layer->forward(rows), core::BugError);
  const torch::NoGradGuard no_grad;
  EXPECT_THROW(layer->forward(rows.to(at::kDouble)), core::BugError);
}

TEST_P(PackedLayers, AreConvolutionsThatHaveAKernelAndOtherLayersOfBlocks) {
  const torch::NoGradGuard no_grad;
  const auto network = std::make_shared<torch::nn::Module>();
  Conv3x3 convolution = network->register_module("layers", Conv3x3(32, 32, 1, 1, /*with_bias=*/false)),
          strided = network->register_module("down_blocks", Conv3x3(32, 32, 2));
  Dense inside = network->register_module("mid_block", Dense(32, 32)), outside = network->register_module("time_embedding", Dense(32, 32));
  nn::initialise(*network, "network", 1);
  network->to(GetParam());
  const at::Tensor maps = normal({2, 32, 6, 5}), before = convolution->forward(maps), halved = strided->forward(maps);
  pack_weights(*network);
  const double bound = GetParam() == at::kFloat ? 1e-6 : 1e-2;
  EXPECT_LT(((convolution->forward(maps) - before).norm() / before.norm()).item<double>(), bound);
  EXPECT_EQ(convolution->weight.numel(), 0);
  EXPECT_EQ(inside->weight.numel(), 0);
  EXPECT_EQ(outside->weight.numel(), 32 * 32);
  EXPECT_TRUE(at::equal(strided->forward(maps), halved));
}

INSTANTIATE_TEST_SUITE_P(All, PackedLayers, testing::Values(at::kFloat, at::kBFloat16), [](const auto& one) { return std::string(c10::toString(one.param)); });

}  // namespace
}  // namespace syncdr::diffusion::layers_tests
