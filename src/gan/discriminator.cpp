#include "layers.h"
#include "syncdr/core/error.h"
#include "syncdr/gan/cut.h"

namespace syncdr::gan {

DiscriminatorImpl::DiscriminatorImpl(const DiscriminatorConfig& config) : config_(config), model_(register_module("model", torch::nn::Sequential())) {
  using namespace torch::nn;
  const auto leaky = [] { return LeakyReLU(LeakyReLUOptions().negative_slope(0.2)); };
  const auto channels_of = [&](int64_t layer) { return config.width * std::min<int64_t>(int64_t{1} << layer, 8); };
  for (int64_t i = 0; i <= config.layers; ++i) {
    model_->push_back(convolution(i == 0 ? 3 : channels_of(i - 1), channels_of(i), 4, 1));
    if (i > 0) model_->push_back(Functional(instance_norm));
    model_->push_back(leaky());
    if (i < config.layers) model_->push_back(Functional(downsampled));
  }
  model_->push_back(convolution(channels_of(config.layers), 1, 4, 1));
}

at::Tensor DiscriminatorImpl::forward(const at::Tensor& images) {
  // Each layer takes one pixel off and halves; what is left must hold the last two 4x4 windows.
  int64_t side = std::min(images.size(-2), images.size(-1));
  for (int64_t i = 0; i < config_.layers; ++i) side = side / 2;
  if (images.dim() != 4 || images.size(1) != 3 || side < 4)
    throw core::UsageError("a discriminator with {} layers needs images [B, 3, H, W] of at least {} pixels a side, got [{}]; lower discriminator.layers",
                           config_.layers, int64_t{4} << config_.layers, fmt::join(images.sizes(), ", "));
  return model_->forward(images.contiguous(at::MemoryFormat::ChannelsLast));
}

}  // namespace syncdr::gan
