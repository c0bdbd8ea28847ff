#include "layers.h"

#include <ATen/ops/empty.h>

namespace syncdr::diffusion {
namespace {

thread_local bool draws_values = true;

// LibTorch's layers draw in their constructors whatever one does: a layer of size 1 is made and enlarged.
void enlarge(at::Tensor& parameter, at::IntArrayRef shape) { parameter.set_data(at::empty(shape, parameter.options().requires_grad(false))); }

torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t side, int64_t stride, int64_t padding) {
  torch::nn::Conv2dOptions options(in, out, side);
  options.stride(stride).padding(padding);
  if (draws_values) return torch::nn::Conv2d(options);
  torch::nn::Conv2d layer(torch::nn::Conv2dOptions(options).in_channels(1).out_channels(1));
  layer->options.in_channels(in).out_channels(out);
  enlarge(layer->weight, {out, in, side, side});
  enlarge(layer->bias, {out});
  return layer;
}

}  // namespace

WithoutInitialValues::WithoutInitialValues() : before_(draws_values) { draws_values = false; }
WithoutInitialValues::~WithoutInitialValues() { draws_values = before_; }

torch::nn::Linear linear(int64_t in, int64_t out, bool bias) {
  if (draws_values) return torch::nn::Linear(torch::nn::LinearOptions(in, out).bias(bias));
  torch::nn::Linear layer(torch::nn::LinearOptions(1, 1).bias(bias));
  layer->options.in_features(in).out_features(out);
  enlarge(layer->weight, {out, in});
  if (bias) enlarge(layer->bias, {out});
  return layer;
}

torch::nn::Conv2d conv1x1(int64_t in, int64_t out) { return convolution(in, out, 1, 1, 0); }

torch::nn::Conv2d conv3x3(int64_t in, int64_t out, int64_t stride, int64_t padding) { return convolution(in, out, 3, stride, padding); }

torch::nn::Embedding embedding(int64_t rows, int64_t width) {
  torch::nn::EmbeddingOptions options(rows, width);
  if (!draws_values) options._weight(at::empty({rows, width}));
  return torch::nn::Embedding(options);
}

torch::nn::GroupNorm group_norm(int64_t groups, int64_t channels, double epsilon) {
  return torch::nn::GroupNorm(torch::nn::GroupNormOptions(groups, channels).eps(epsilon));
}

}  // namespace syncdr::diffusion
