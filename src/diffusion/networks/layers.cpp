#include "layers.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>

#include "syncdr/kernels/product.h"
#include "syncdr/kernels/winograd.h"

namespace syncdr::diffusion {
namespace {

thread_local bool draws_values = true;

// LibTorch's layers draw in their constructors whatever one does: a layer of size 1 is made and enlarged.
void enlarge(at::Tensor& parameter, at::IntArrayRef shape) { parameter.set_data(at::empty(shape, parameter.options().requires_grad(false))); }

template <class Layer = torch::nn::Conv2d>
Layer convolution(int64_t in, int64_t out, int64_t side, int64_t stride, int64_t padding) {
  torch::nn::Conv2dOptions options(in, out, side);
  options.stride(stride).padding(padding);
  if (draws_values) return Layer(options);
  Layer layer(torch::nn::Conv2dOptions(options).in_channels(1).out_channels(1));
  layer->options.in_channels(in).out_channels(out);
  enlarge(layer->weight, {out, in, side, side});
  enlarge(layer->bias, {out});
  return layer;
}

template <class Layer>
Layer linear_layer(int64_t in, int64_t out, bool bias) {
  if (draws_values) return Layer(torch::nn::LinearOptions(in, out).bias(bias));
  Layer layer(torch::nn::LinearOptions(1, 1).bias(bias));
  layer->options.in_features(in).out_features(out);
  enlarge(layer->weight, {out, in});
  if (bias) enlarge(layer->bias, {out});
  return layer;
}

}  // namespace

WithoutInitialValues::WithoutInitialValues() : before_(draws_values) { draws_values = false; }
WithoutInitialValues::~WithoutInitialValues() { draws_values = before_; }

bool infers_on_cpu(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat && !at::GradMode::is_enabled(); }

void Conv3x3Impl::pack() {
  if (infers_on_cpu(weight) && kernels::winograd_takes(weight.size(1), weight.size(0))) packed_ = kernels::winograd_weight(weight);
}

at::Tensor Conv3x3Impl::forward(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& residual) {
  if (packed_.defined() && infers_on_cpu(x)) return kernels::winograd_convolution(x, packed_, shift.defined() ? bias + shift : bias, residual);
  at::Tensor y = Conv2dImpl::forward(x);
  if (shift.defined()) y = y + shift.unsqueeze(-1).unsqueeze(-1);
  return residual.defined() ? residual + y : y;
}

void DenseImpl::pack() {
  if (infers_on_cpu(weight) && kernels::product_takes(weight.size(1), weight.size(0))) packed_ = kernels::product_weight(weight);
}

at::Tensor DenseImpl::forward(const at::Tensor& x, const at::Tensor& residual) {
  if (packed_.defined() && infers_on_cpu(x)) return kernels::product(x, packed_, bias, residual);
  const at::Tensor y = LinearImpl::forward(x);
  return residual.defined() ? residual + y : y;
}

at::Tensor DenseImpl::forward_geglu(const at::Tensor& x) {
  if (packed_.defined() && infers_on_cpu(x) && kernels::geglu_takes(weight.size(0))) return kernels::geglu_product(x, packed_, bias);
  const std::vector<at::Tensor> halves = forward(x).chunk(2, -1);
  return halves[0] * at::gelu(halves[1]);
}

void Conv1x1Impl::pack() {
  if (infers_on_cpu(weight) && kernels::product_takes(weight.size(1), weight.size(0))) packed_ = kernels::product_weight(weight.flatten(1));
}

at::Tensor Conv1x1Impl::forward(const at::Tensor& x) {
  if (packed_.defined() && infers_on_cpu(x)) return kernels::product(x.permute({0, 2, 3, 1}), packed_, bias).permute({0, 3, 1, 2});
  return Conv2dImpl::forward(x);
}

at::Tensor Conv1x1Impl::forward_rows(const at::Tensor& rows, const at::Tensor& residual) {
  if (packed_.defined() && infers_on_cpu(rows)) return kernels::product(rows, packed_, bias, residual);
  const at::Tensor y = at::linear(rows, weight.flatten(1), bias);
  return residual.defined() ? residual + y : y;
}

void pack_weights(torch::nn::Module& network) {
  const at::NoGradGuard no_grad;
  for (const auto& module : network.modules()) {
    if (auto* layer = module->as<Conv3x3Impl>()) layer->pack();
    if (auto* layer = module->as<Conv1x1Impl>()) layer->pack();
    if (auto* layer = module->as<DenseImpl>()) layer->pack();
  }
}

torch::nn::Linear linear(int64_t in, int64_t out, bool bias) { return linear_layer<torch::nn::Linear>(in, out, bias); }

Dense dense(int64_t in, int64_t out, bool bias) { return linear_layer<Dense>(in, out, bias); }

torch::nn::Conv2d conv1x1(int64_t in, int64_t out) { return convolution(in, out, 1, 1, 0); }

torch::nn::Conv2d conv3x3(int64_t in, int64_t out, int64_t stride, int64_t padding) { return convolution(in, out, 3, stride, padding); }

Conv1x1 packable_conv1x1(int64_t in, int64_t out) { return convolution<Conv1x1>(in, out, 1, 1, 0); }

Conv3x3 packable_conv3x3(int64_t in, int64_t out) { return convolution<Conv3x3>(in, out, 3, 1, 1); }

torch::nn::Embedding embedding(int64_t rows, int64_t width) {
  torch::nn::EmbeddingOptions options(rows, width);
  if (!draws_values) options._weight(at::empty({rows, width}));
  return torch::nn::Embedding(options);
}

torch::nn::GroupNorm group_norm(int64_t groups, int64_t channels, double epsilon) {
  return torch::nn::GroupNorm(torch::nn::GroupNormOptions(groups, channels).eps(epsilon));
}

}  // namespace syncdr::diffusion
