#include "layers.h"
#include "syncdr/core/error.h"
#include "syncdr/gan/cut.h"

namespace syncdr::gan {
namespace {

void check_nce_layers(const std::vector<int64_t>& nce_layers, size_t layers) {
  for (size_t i = 0; i < nce_layers.size(); ++i) {
    if (nce_layers[i] < 0 || nce_layers[i] >= static_cast<int64_t>(layers))
      throw core::UsageError("generator.nce_layers: {} is no layer; this generator has layers 0 to {}", nce_layers[i], layers - 1);
    if (i > 0 && nce_layers[i] <= nce_layers[i - 1])
      throw core::UsageError("generator.nce_layers must rise, but {} follows {}", nce_layers[i], nce_layers[i - 1]);
  }
}

void check_images(const at::Tensor& images) {
  const bool fits =
      images.dim() == 4 && images.size(1) == 3 && images.size(2) % 4 == 0 && images.size(3) % 4 == 0 && images.size(2) >= 16 && images.size(3) >= 16;
  if (!fits)
    throw core::UsageError("CUT's generator needs images [B, 3, H, W] with sides that are multiples of 4 and at least 16, got [{}]",
                           fmt::join(images.sizes(), ", "));
}

}  // namespace

void GeneratorImpl::add(torch::nn::AnyModule layer, int64_t channels) {
  model_->push_back(std::move(layer));
  channels_.push_back(channels);
}

GeneratorImpl::GeneratorImpl(const GeneratorConfig& config) : config_(config), model_(register_module("model", torch::nn::Sequential())) {
  using namespace torch::nn;
  const auto add_convolution = [&](int64_t in, int64_t out, int64_t kernel, int64_t padding) {
    add(AnyModule(convolution(in, out, kernel, padding)), out);
    add(AnyModule(Functional(instance_norm)), out);
    add(AnyModule(ReLU()), out);
  };
  const int64_t width = config.width;
  add(AnyModule(ReflectionPad2d(3)), 3);
  add_convolution(3, width, 7, 0);
  for (const int64_t channels : {width, 2 * width}) {
    add_convolution(channels, 2 * channels, 3, 1);
    add(AnyModule(Functional(downsampled)), 2 * channels);
  }
  for (int64_t i = 0; i < config.blocks; ++i) add(AnyModule(ResnetBlock(4 * width)), 4 * width);
  for (const int64_t channels : {4 * width, 2 * width}) {
    add(AnyModule(Functional(upsampled)), channels);
    add_convolution(channels, channels / 2, 3, 1);
  }
  add(AnyModule(ReflectionPad2d(3)), width);
  add(AnyModule(convolution(width, 3, 7, 0)), 3);
  add(AnyModule(Tanh()), 3);
  check_nce_layers(config.nce_layers, channels_.size());
}

at::Tensor GeneratorImpl::run(const at::Tensor& images, int64_t layers, std::vector<at::Tensor>* features) {
  check_images(images);
  at::Tensor value = images.contiguous(at::MemoryFormat::ChannelsLast);
  auto wanted = config_.nce_layers.begin();
  for (int64_t i = 0; i < layers; ++i) {
    value = (model_->begin() + i)->forward(value);
    if (!features || wanted == config_.nce_layers.end() || *wanted != i) continue;
    features->push_back(value);
    ++wanted;
  }
  return value;
}

at::Tensor GeneratorImpl::forward(const at::Tensor& images) { return run(images, int64_t(channels_.size()), nullptr); }

GeneratorOutput GeneratorImpl::forward_with_features(const at::Tensor& images) {
  GeneratorOutput output;
  output.images = run(images, int64_t(channels_.size()), &output.features);
  return output;
}

std::vector<at::Tensor> GeneratorImpl::features(const at::Tensor& images) {
  std::vector<at::Tensor> found;
  run(images, config_.nce_layers.empty() ? 0 : config_.nce_layers.back() + 1, &found);
  return found;
}

std::vector<int64_t> GeneratorImpl::feature_channels() const {
  std::vector<int64_t> channels;
  for (const int64_t layer : config_.nce_layers) channels.push_back(channels_.at(static_cast<size_t>(layer)));
  return channels;
}

}  // namespace syncdr::gan
