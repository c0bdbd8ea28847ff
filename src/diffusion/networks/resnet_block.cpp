#include "resnet_block.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/upsample_nearest2d.h>

#include "syncdr/kernels/fast_norm.h"

namespace syncdr::diffusion {

at::Tensor normalized(torch::nn::GroupNorm& norm, const at::Tensor& x, bool with_silu) {
  const bool one_type = norm->weight.scalar_type() == x.scalar_type();  // not under autocast
  if (infers_on_cpu(x) && one_type && kernels::fast_norm_takes(x.size(1), x.scalar_type()))
    return kernels::fast_group_norm(x, norm->options.num_groups(), norm->weight, norm->bias, norm->options.eps(), with_silu);
  const at::Tensor y = norm->forward(x);
  return with_silu ? at::silu(y) : y;
}

ResnetBlockImpl::ResnetBlockImpl(const ResnetBlockConfig& config)
    : output_scale_(config.output_scale), norm1_(register_module("norm1", group_norm(config.groups, config.in, config.epsilon))),
      norm2_(register_module("norm2", group_norm(config.groups, config.out, config.epsilon))), conv1_(register_module("conv1", Conv3x3(config.in, config.out))),
      conv2_(register_module("conv2", Conv3x3(config.out, config.out))) {
  if (config.time_width > 0) time_ = register_module("time_emb_proj", Dense(config.time_width, config.out));
  if (config.small_maps) {
    conv1_->expect_small_maps();
    conv2_->expect_small_maps();
  }
  if (config.in != config.out) shortcut_ = register_module("conv_shortcut", Conv1x1(config.in, config.out));
}

at::Tensor ResnetBlockImpl::forward(const at::Tensor& x, const at::Tensor& time) {
  const at::Tensor inner = conv1_->forward(normalized(norm1_, x), time_ ? time_->forward(time) : at::Tensor());
  const at::Tensor sum = conv2_->forward(normalized(norm2_, inner), {}, shortcut_ ? shortcut_->forward(x) : x);
  return output_scale_ == 1 ? sum : sum / output_scale_;
}

DownsampleImpl::DownsampleImpl(int64_t channels, int64_t padding)
    : padding_(padding), conv_(register_module("conv", Conv3x3(channels, channels, 2, padding))) {}

at::Tensor DownsampleImpl::forward(const at::Tensor& x) { return conv_->forward(padding_ == 0 ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x); }

UpsampleImpl::UpsampleImpl(int64_t channels) : conv_(register_module("conv", Conv3x3(channels, channels))) { conv_->expect_small_maps(); }

at::Tensor UpsampleImpl::forward(const at::Tensor& x, int64_t height, int64_t width) {
  if (height == 2 * x.size(2) && width == 2 * x.size(3)) return conv_->forward_doubled(x);
  return conv_->forward(at::upsample_nearest2d(x, {height, width}));
}

}  // namespace syncdr::diffusion
