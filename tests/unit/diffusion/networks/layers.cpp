#include "networks/layers.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <torch/utils.h>

#include "diffusion/tiny_checkpoint.h"

namespace syncdr::diffusion::layers_tests {
namespace {

TEST(WithoutInitialValues, ANetworkIsTheSameOnceItsWeightsAreRead) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  UNet drawn = TinyCheckpoint::make_unet();
  auto read = made_for_loading<UNet>(drawn->config());
  read->eval();
  nn::load_state(*read, nn::state_of(*drawn), "test");
  EXPECT_EQ(nn::state_hash(*read), nn::state_hash(*drawn));
  for (const at::Tensor& parameter : read->parameters()) EXPECT_TRUE(parameter.requires_grad());
  const at::Tensor sample = at::randn({1, 4, 6, 5}), text = at::randn({1, 7, 6});
  EXPECT_TRUE(at::equal(read->forward(sample, 3.0, text), drawn->forward(sample, 3.0, text)));
}

TEST(WithoutInitialValues, EndsWithItsScope) {
  const auto draws = [] { return linear(3, 4)->weight.abs().max().item<float>() > 0 && conv3x3(2, 3)->options.in_channels() == 2; };
  {
    const WithoutInitialValues outer;
    { const WithoutInitialValues inner; }
    EXPECT_EQ(embedding(5, 2)->weight.sizes(), (std::vector<int64_t>{5, 2}));
    EXPECT_EQ(linear(3, 4, false)->options.out_features(), 4);
  }
  EXPECT_TRUE(draws());
}

TEST(PackedLayers, ComputeTheSameAndLeaveGradientsAlone) {
  torch::manual_seed(1);
  Conv3x3 convolution = packable_conv3x3(32, 64);
  Dense linear = dense(32, 64);
  const at::Tensor maps = at::randn({2, 32, 6, 5}), rows = at::randn({2, 9, 32});
  const auto all = [&] {
    const torch::NoGradGuard no_grad;
    return std::vector<at::Tensor>{convolution->forward(maps), linear->forward(rows), linear->forward_geglu(rows)};
  };
  const auto plain = all();
  pack_weights(*convolution);
  pack_weights(*linear);
  const auto packed = all();
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_LT(((packed[i] - plain[i]).norm() / plain[i].norm()).item<double>(), 1e-6) << i;
  (convolution->forward(maps).sum() + linear->forward(rows).sum()).backward();
  EXPECT_TRUE(convolution->weight.grad().defined() && linear->weight.grad().defined());
}

}  // namespace
}  // namespace syncdr::diffusion::layers_tests
