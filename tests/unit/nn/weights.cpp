#include "syncdr/nn/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "syncdr/core/error.h"
#include "syncdr/nn/batch_norm.h"

using namespace syncdr;
using testing::HasSubstr;

namespace {

struct NetImpl : torch::nn::Module {
  NetImpl() {
    conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 2).bias(false)));
    norm = register_module("norm", nn::BatchNorm(4));
    layers = register_module("layers", torch::nn::Sequential(torch::nn::Linear(4, 5), nn::BatchNorm(5, /*affine=*/false)));
  }
  torch::nn::Conv2d conv{nullptr};
  nn::BatchNorm norm{nullptr};
  torch::nn::Sequential layers{nullptr};
};
TORCH_MODULE(Net);

io::NamedTensors copy_of_state(const torch::nn::Module& module) {
  io::NamedTensors copy;
  for (const auto& [name, tensor] : nn::state_of(module)) copy.emplace(name, tensor.detach().clone());
  return copy;
}

std::string message_of(torch::nn::Module& module, const io::NamedTensors& tensors) {
  try {
    nn::load_state(module, tensors, "net.safetensors");
  } catch (const core::DataError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST(StateOf, NamesParametersAndBuffersAsPyTorch) {
  Net net;
  std::vector<std::string> names;
  for (const auto& [name, tensor] : nn::state_of(*net)) names.push_back(name);
  EXPECT_THAT(names,
              testing::ElementsAre("conv.weight", "layers.0.bias", "layers.0.weight", "layers.1.num_batches_tracked", "layers.1.running_mean",
                                   "layers.1.running_var", "norm.bias", "norm.num_batches_tracked", "norm.running_mean", "norm.running_var", "norm.weight"));
}

TEST(AdoptState, TakesTheTensorsThemselves) {
  Net net;
  io::NamedTensors tensors = copy_of_state(*net);
  for (auto& [name, tensor] : tensors)
    if (name.ends_with("weight")) tensor = (tensor + 1).to(at::kHalf);
  const io::NamedTensors given = tensors;
  nn::adopt_state(*net, std::move(tensors), "net.safetensors", at::kFloat);
  for (const auto& [name, tensor] : nn::state_of(*net)) {
    EXPECT_EQ(tensor.const_data_ptr() == given.at(name).const_data_ptr(), !name.ends_with("weight")) << name;
    EXPECT_TRUE(tensor.equal(given.at(name).to(tensor.scalar_type()))) << name;
  }
  EXPECT_EQ(net->conv->weight.scalar_type(), at::kFloat);
  EXPECT_TRUE(net->conv->weight.requires_grad());
}

TEST(AdoptState, RefusesWhatLoadStateRefuses) {
  Net net;
  const io::NamedTensors before = copy_of_state(*net);
  io::NamedTensors tensors = copy_of_state(*net);
  tensors["norm.weight"] = at::ones({5});
  EXPECT_THROW(nn::adopt_state(*net, std::move(tensors), "net.safetensors", at::kFloat), core::DataError);
  for (const auto& [name, tensor] : nn::state_of(*net)) EXPECT_TRUE(tensor.equal(before.at(name))) << name;
}

TEST(StateOf, SharesMemoryWithTheModule) {
  Net net;
  const torch::NoGradGuard no_grad;
  nn::state_of(*net).at("conv.weight").fill_(7);
  EXPECT_EQ(net->conv->weight.min().item<float>(), 7);
}

TEST(LoadState, CopiesEveryTensorAndConvertsPrecision) {
  Net from, to;
  from->norm->running_mean.fill_(3);
  from->norm->num_batches_tracked.fill_(12);
  io::NamedTensors tensors = copy_of_state(*from);
  tensors["conv.weight"] = tensors["conv.weight"].to(at::kBFloat16);
  nn::load_state(*to, tensors, "net.safetensors");
  EXPECT_EQ(to->conv->weight.scalar_type(), at::kFloat);
  EXPECT_TRUE(to->conv->weight.equal(tensors["conv.weight"].to(at::kFloat)));
  for (const auto& [name, tensor] : nn::state_of(*to)) {
    EXPECT_TRUE(tensor.equal(tensors[name].to(tensor.scalar_type()))) << name;
  }
  EXPECT_TRUE(to->conv->weight.requires_grad());
}

TEST(LoadState, NamesAMissingTensor) {
  Net net;
  io::NamedTensors tensors = copy_of_state(*net);
  tensors.erase("norm.bias");
  EXPECT_THAT(message_of(*net, tensors), HasSubstr("net.safetensors: \"norm.bias\" missing"));
}

TEST(LoadState, NamesLeftOverTensorsAndCountsTheRest) {
  Net net;
  io::NamedTensors tensors = copy_of_state(*net);
  for (const char* name : {"a", "b", "c", "d", "e"}) tensors[name] = at::zeros({1});
  EXPECT_THAT(message_of(*net, tensors), HasSubstr("\"a\", \"b\", \"c\" and 2 more not known to the model"));
}

TEST(LoadState, NamesBothShapesOfATensorThatDoesNotFit) {
  Net net;
  io::NamedTensors tensors = copy_of_state(*net);
  tensors["conv.weight"] = at::zeros({4, 8, 2, 2});
  EXPECT_EQ(message_of(*net, tensors), "net.safetensors: \"conv.weight\" has shape [4, 8, 2, 2], the model needs [4, 3, 2, 2]");
}

TEST(LoadState, RejectsIntegersInAWeightsPlace) {
  Net net;
  io::NamedTensors tensors = copy_of_state(*net);
  tensors["conv.weight"] = at::zeros({4, 3, 2, 2}, at::kChar);
  EXPECT_THAT(message_of(*net, tensors), HasSubstr("\"conv.weight\" holds Char, the model needs Float"));
}

TEST(LoadState, LeavesTheModuleUntouchedWhenOneTensorIsWrong) {
  Net net;
  const std::string before = nn::state_hash(*net);
  io::NamedTensors tensors = copy_of_state(*Net());
  tensors["norm.weight"] = at::zeros({5});  // the last name: all others fit
  EXPECT_NE(message_of(*net, tensors), "");
  EXPECT_EQ(nn::state_hash(*net), before);
}

TEST(ParameterCount, CountsParametersAndNoBuffers) { EXPECT_EQ(nn::parameter_count(*Net()), 4 * 3 * 2 * 2 + 4 + 4 + 4 * 5 + 5); }

TEST(StateHash, DependsOnValuesBuffersAndNothingElse) {
  Net net, other;
  nn::load_state(*other, copy_of_state(*net), "copy");
  const std::string hash = nn::state_hash(*net);
  EXPECT_EQ(hash.size(), 32u);
  EXPECT_EQ(nn::state_hash(*other), hash);
  other->conv->weight.set_data(other->conv->weight.detach().contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_EQ(nn::state_hash(*other), hash) << "the memory layout is no part of a model's identity";
  other->norm->running_var[2] = 1.5;
  EXPECT_NE(nn::state_hash(*other), hash);
}

TEST(StateHash, TellsShapesWithEqualBytesApart) {
  torch::nn::Linear wide(torch::nn::LinearOptions(2, 8).bias(false)), tall(torch::nn::LinearOptions(8, 2).bias(false));
  const torch::NoGradGuard no_grad;
  wide->weight.fill_(1);
  tall->weight.fill_(1);
  EXPECT_NE(nn::state_hash(*wide), nn::state_hash(*tall));
}
