#include "layers.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/zeros.h>

#include "syncdr/core/error.h"
#include "syncdr/kernels/product.h"
#include "syncdr/kernels/winograd.h"

namespace syncdr::diffusion {
namespace {

// LibTorch's layers draw in their constructors whatever one does: a layer of size 1 is made and enlarged.
void enlarge(at::Tensor& parameter, at::IntArrayRef shape) {
  if (parameter.defined()) parameter.set_data(at::empty(shape, parameter.options().requires_grad(false)));
}

void enlarge(torch::nn::Conv2dImpl& layer, int64_t in, int64_t out) {
  layer.options.in_channels(in).out_channels(out);
  enlarge(layer.weight, {out, in, layer.weight.size(2), layer.weight.size(3)});
  enlarge(layer.bias, {out});
}

}  // namespace

bool infers_on_cpu(const at::Tensor& x) { return x.is_cpu() && !at::GradMode::is_enabled(); }

bool Packable::takes(const at::Tensor& x) const {
  SYNCDR_ASSERT(!packed_.defined() || (infers_on_cpu(x) && x.scalar_type() == packed_.scalar_type()), "packed weights serve inference in their type on a CPU");
  return packed_.defined();
}

void Packable::keep(const at::Tensor& packed, at::Tensor& weight) {
  packed_ = packed;
  weight.set_data(at::empty({0}, weight.options().requires_grad(false)));
}

Conv3x3Impl::Conv3x3Impl(int64_t in, int64_t out, int64_t stride, int64_t padding, bool with_bias)
    : Conv2dImpl(torch::nn::Conv2dOptions(1, 1, 3).stride(stride).padding(padding).bias(with_bias)), keeps_size_(stride == 1 && padding == 1) {
  enlarge(*this, in, out);
}

void Conv3x3Impl::pack() {
  const int64_t in = weight.size(1), out = weight.size(0);
  if (!keeps_size_ || !infers_on_cpu(weight) || !kernels::winograd_takes(in, out, weight.scalar_type())) return;
  if (!bias.defined()) no_bias_ = at::zeros({out}, weight.options().requires_grad(false));
  keep(kernels::winograd_weight(weight, !small_maps_ && kernels::winograd_takes_large_tiles(in, out, weight.scalar_type())), weight);
}

at::Tensor Conv3x3Impl::forward(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& residual) {
  if (takes(x)) return kernels::winograd_convolution(x, packed_, shift.defined() ? bias_of_packed() + shift : bias_of_packed(), residual);
  at::Tensor y = Conv2dImpl::forward(x);
  if (shift.defined()) y = y + shift.unsqueeze(-1).unsqueeze(-1);
  return residual.defined() ? residual + y : y;
}

at::Tensor Conv3x3Impl::forward_doubled(const at::Tensor& x) {
  if (takes(x)) return kernels::winograd_doubled(x, packed_, bias_of_packed());
  return forward(at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}));
}

DenseImpl::DenseImpl(int64_t in, int64_t out, bool with_bias) : LinearImpl(torch::nn::LinearOptions(1, 1).bias(with_bias)) {
  options.in_features(in).out_features(out);
  enlarge(weight, {out, in});
  enlarge(bias, {out});
}

void DenseImpl::pack() {
  if (infers_on_cpu(weight) && kernels::product_takes(weight.size(1), weight.size(0), weight.scalar_type())) keep(kernels::product_weight(weight), weight);
}

at::Tensor DenseImpl::forward(const at::Tensor& x, const at::Tensor& residual) {
  if (takes(x)) return kernels::product(x, packed_, bias, residual);
  const at::Tensor y = LinearImpl::forward(x);
  return residual.defined() ? residual + y : y;
}

at::Tensor DenseImpl::forward_geglu(const at::Tensor& x) {
  if (takes(x) && kernels::geglu_takes(weight.size(0))) return kernels::geglu_product(x, packed_, bias);
  const std::vector<at::Tensor> halves = forward(x).chunk(2, -1);
  return halves[0] * at::gelu(halves[1]);
}

Conv1x1Impl::Conv1x1Impl(int64_t in, int64_t out) : Conv2dImpl(torch::nn::Conv2dOptions(1, 1, 1)) { enlarge(*this, in, out); }

void Conv1x1Impl::pack() {
  if (infers_on_cpu(weight) && kernels::product_takes(weight.size(1), weight.size(0), weight.scalar_type()))
    keep(kernels::product_weight(weight.flatten(1)), weight);
}

at::Tensor Conv1x1Impl::forward(const at::Tensor& x) {
  if (takes(x)) return kernels::product(x.permute({0, 2, 3, 1}), packed_, bias).permute({0, 3, 1, 2});
  return Conv2dImpl::forward(x);
}

at::Tensor Conv1x1Impl::forward_rows(const at::Tensor& rows, const at::Tensor& residual) {
  if (takes(rows)) return kernels::product(rows, packed_, bias, residual);
  const at::Tensor y = at::linear(rows, weight.flatten(1), bias);
  return residual.defined() ? residual + y : y;
}

void pack_weights(torch::nn::Module& network, bool winograd) {
  const at::NoGradGuard no_grad;
  for (const auto& item : network.named_modules()) {
    auto* layer = dynamic_cast<Packable*>(item.value().get());
    const bool convolves = dynamic_cast<Conv3x3Impl*>(layer) != nullptr;
    const bool of_block = item.key().find("_block") != std::string::npos;  // down_blocks, mid_block, up_blocks: diffusers' names
    if (layer && (convolves ? winograd : of_block)) layer->pack();
  }
}

at::Tensor repeated(const at::Tensor& x, int64_t count) {
  // at::repeat would lose the layout.
  return x.size(0) == count ? x : at::cat(std::vector<at::Tensor>(static_cast<size_t>(count / x.size(0)), x));
}

torch::nn::Embedding embedding(int64_t rows, int64_t width) {
  return torch::nn::Embedding(torch::nn::EmbeddingOptions(rows, width)._weight(at::empty({rows, width})));
}

torch::nn::GroupNorm group_norm(int64_t groups, int64_t channels, double epsilon) {
  return torch::nn::GroupNorm(torch::nn::GroupNormOptions(groups, channels).eps(epsilon));
}

torch::nn::LayerNorm layer_norm(int64_t width, double epsilon) { return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(epsilon)); }

}  // namespace syncdr::diffusion
