#pragma once
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

/// The layers that all networks here are made of.
namespace syncdr::diffusion {

torch::nn::Linear linear(int64_t in, int64_t out, bool bias = true);
torch::nn::Conv2d conv1x1(int64_t in, int64_t out);
torch::nn::Conv2d conv3x3(int64_t in, int64_t out, int64_t stride = 1, int64_t padding = 1);
torch::nn::Embedding embedding(int64_t rows, int64_t width);
torch::nn::GroupNorm group_norm(int64_t groups, int64_t channels, double epsilon);

/// While one lives, layers that this thread makes hold whatever is in their memory: for networks whose weights are read next. Drawing initial values
/// takes seconds for Stable Diffusion's UNet.
class WithoutInitialValues {
 public:
  WithoutInitialValues();
  ~WithoutInitialValues();
  WithoutInitialValues(const WithoutInitialValues&) = delete;
  WithoutInitialValues& operator=(const WithoutInitialValues&) = delete;

 private:
  bool before_;
};

/// A network of this configuration without initial values.
template <class Network, class Config>
Network made_for_loading(const Config& config) {
  const WithoutInitialValues memory_only;
  return Network(config);
}

}  // namespace syncdr::diffusion
