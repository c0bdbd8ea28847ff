#include "unet_blocks.h"

#include <ATen/ops/cat.h>

namespace syncdr::diffusion {
namespace {

ResnetBlock resnet(const LevelConfig& level, int64_t in, int64_t out) {
  ResnetBlockConfig config = level.resnet;
  config.in = in;
  config.out = out;
  return ResnetBlock(config);
}

std::vector<Transformer> transformers(const LevelConfig& level, int64_t count) {
  std::vector<Transformer> made;
  for (int64_t i = 0; level.attention && i < count; ++i) made.emplace_back(*level.attention);
  return made;
}

at::Tensor take_last(std::vector<at::Tensor>& skips) {
  at::Tensor last = std::move(skips.back());
  skips.pop_back();
  return last;
}

}  // namespace

DownBlockImpl::DownBlockImpl(const LevelConfig& level, int64_t in, int64_t out, int64_t downsample_padding)
    : attentions_(transformers(level, level.layers)) {
  for (int64_t i = 0; i < level.layers; ++i) resnets_.push_back(resnet(level, i == 0 ? in : out, out));
  register_list(*this, "attentions", attentions_);
  register_list(*this, "resnets", resnets_);
  if (!level.resample) return;
  downsample_ = Downsample(out, downsample_padding);
  register_list(*this, "downsamplers", std::vector<Downsample>{downsample_});
}

at::Tensor DownBlockImpl::forward(at::Tensor x, const at::Tensor& time, const TextContext& text, std::vector<at::Tensor>& skips) {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    x = resnets_[i]->forward(x, time);
    if (!attentions_.empty()) x = attentions_[i]->forward(x, text);
    skips.push_back(x);
  }
  if (!downsample_) return x;
  skips.push_back(downsample_->forward(x));
  return skips.back();
}

MidBlockImpl::MidBlockImpl(const LevelConfig& level) : attentions_(transformers(level, 1)) {
  for (int64_t i = 0; i < 2; ++i) resnets_.push_back(resnet(level, level.resnet.in, level.resnet.in));
  register_list(*this, "attentions", attentions_);
  register_list(*this, "resnets", resnets_);
}

at::Tensor MidBlockImpl::forward(const at::Tensor& x, const at::Tensor& time, const TextContext& text) {
  const at::Tensor read = attentions_[0]->forward(resnets_[0]->forward(x, time), text);
  return resnets_[1]->forward(read, time);
}

UpBlockImpl::UpBlockImpl(const LevelConfig& level, int64_t in, int64_t out, int64_t last_skip)
    : attentions_(transformers(level, level.layers)) {
  for (int64_t i = 0; i < level.layers; ++i) {
    const int64_t skip = i == level.layers - 1 ? last_skip : out;
    resnets_.push_back(resnet(level, (i == 0 ? in : out) + skip, out));
  }
  register_list(*this, "attentions", attentions_);
  register_list(*this, "resnets", resnets_);
  if (!level.resample) return;
  upsample_ = Upsample(out);
  register_list(*this, "upsamplers", std::vector<Upsample>{upsample_});
}

at::Tensor UpBlockImpl::forward(at::Tensor x, const at::Tensor& time, const TextContext& text, std::vector<at::Tensor>& skips) {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    x = resnets_[i]->forward(at::cat({x, take_last(skips)}, 1), time);
    if (!attentions_.empty()) x = attentions_[i]->forward(x, text);
  }
  // Twice the size, but for maps that had an odd side on the way down.
  return upsample_ ? upsample_->forward(x, skips.back().size(2), skips.back().size(3)) : x;
}

}  // namespace syncdr::diffusion
