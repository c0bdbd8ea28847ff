#include "syncdr/diffusion/unet.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>

#include <cmath>
#include <optional>

#include "attention.h"
#include "resnet_block.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {

/// What a level's blocks have in common.
struct LevelConfig {
  ResnetBlockConfig resnet;                    ///< in and out are set by each block
  std::optional<TransformerConfig> attention;  ///< after each residual block
  int64_t layers = 2;                          ///< residual blocks; of the middle one less than it has
  bool resample = true;                        ///< down- or upsampling at the end
};

/// What the levels' blocks share. Parameters are named as in diffusers.
class LevelBlock : public torch::nn::Module {
 protected:
  /// ins: the channels of each residual block's input.
  void add_layers(const LevelConfig& level, const std::vector<int64_t>& ins, int64_t out) {
    for (int64_t i = 0; level.attention && i < level.layers; ++i) attentions_.emplace_back(*level.attention);
    for (const int64_t in : ins) {
      ResnetBlockConfig config = level.resnet;
      config.in = in;
      config.out = out;
      resnets_.emplace_back(config);
    }
    register_list(*this, "attentions", attentions_);
    register_list(*this, "resnets", resnets_);
  }

  std::vector<ResnetBlock> resnets_;
  std::vector<Transformer> attentions_;
};

/// DownBlock2D, and CrossAttnDownBlock2D where the level has attention.
class DownBlock : public LevelBlock {
 public:
  DownBlock(const LevelConfig& level, int64_t in, int64_t out, int64_t downsample_padding) {
    std::vector<int64_t> ins(size_t(level.layers), out);
    ins.front() = in;
    add_layers(level, ins, out);
    if (!level.resample) return;
    downsample_ = Downsample(out, downsample_padding);
    register_list(*this, "downsamplers", std::vector<Downsample>{downsample_});
  }

  /// Appends what the way up will need to skips. Returns the last of them.
  at::Tensor forward(at::Tensor x, const at::Tensor& time, const TextContext& text, std::vector<at::Tensor>& skips) {
    for (size_t i = 0; i < resnets_.size(); ++i) {
      x = resnets_[i]->forward(x, time);
      if (!attentions_.empty()) x = attentions_[i]->forward(x, text);
      skips.push_back(x);
    }
    if (!downsample_) return x;
    skips.push_back(downsample_->forward(x));
    return skips.back();
  }

 private:
  Downsample downsample_{nullptr};
};

/// UNetMidBlock2DCrossAttn: residual block, transformer, residual block.
class MidBlock : public LevelBlock {
 public:
  MidBlock(const LevelConfig& level, int64_t channels) { add_layers(level, {channels, channels}, channels); }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& time, const TextContext& text) {
    const at::Tensor read = attentions_[0]->forward(resnets_[0]->forward(x, time), text);
    return resnets_[1]->forward(read, time);
  }
};

/// UpBlock2D, and CrossAttnUpBlock2D where the level has attention.
class UpBlock : public LevelBlock {
 public:
  /// in: channels of the input; last_skip: of the skip that the last residual block takes, the way down's input of this level.
  UpBlock(const LevelConfig& level, int64_t in, int64_t out, int64_t last_skip) {
    std::vector<int64_t> ins(size_t(level.layers), out + out);
    ins.front() += in - out;
    ins.back() += last_skip - out;
    add_layers(level, ins, out);
    if (!level.resample) return;
    upsample_ = Upsample(out);
    register_list(*this, "upsamplers", std::vector<Upsample>{upsample_});
  }

  /// Takes its skips from the end and upsamples to the size of the one that is then the last.
  at::Tensor forward(at::Tensor x, const at::Tensor& time, const TextContext& text, std::vector<at::Tensor>& skips) {
    for (size_t i = 0; i < resnets_.size(); ++i) {
      x = at::cat({x, repeated(skips.back(), x.size(0))}, 1);
      skips.pop_back();
      x = resnets_[i]->forward(x, time);
      if (!attentions_.empty()) x = attentions_[i]->forward(x, text);
    }
    // Twice the size, but for maps that had an odd side on the way down.
    return upsample_ ? upsample_->forward(x, skips.back().size(2), skips.back().size(3)) : x;
  }

 private:
  Upsample upsample_{nullptr};
};

namespace {

std::string shape_of(const at::Tensor& tensor) { return fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")); }

int64_t time_width(const UNetConfig& config) { return 4 * config.channels.front(); }

/// What the blocks of level i have in common, with as many residual blocks as `layers` says.
LevelConfig level_of(const UNetConfig& config, size_t i, int64_t layers, bool attention, bool only_cross) {
  LevelConfig level{.layers = layers, .resample = i + 1 < config.channels.size()};
  const int64_t side = config.sample_height > 0 ? config.sample_height : 64;  // Stable Diffusion's
  level.resnet = {.groups = config.norm_groups, .epsilon = config.norm_epsilon, .time_width = time_width(config), .small_maps = side >> i < 16};
  if (!attention) return level;
  level.attention = TransformerConfig{.channels = config.channels[i],
                                      .heads = config.heads[i],
                                      .layers = config.transformer_layers[i],
                                      .text_width = config.text_width,
                                      .groups = config.norm_groups,
                                      .linear_projection = config.linear_projection,
                                      .only_cross = only_cross};
  return level;
}

/// Sines and cosines of the timesteps at falling frequencies (Ho et al., 2020): [N] -> [N, width].
at::Tensor sinusoids(const at::Tensor& timesteps, int64_t width, const UNetConfig& config) {
  const int64_t half = width / 2;
  const at::Tensor exponent = at::arange(half, timesteps.options()) * -std::log(10000.0) / (half - config.frequency_shift);
  const at::Tensor angle = timesteps.unsqueeze(1) * at::exp(exponent);
  const at::Tensor both = config.flip_sin_to_cos ? at::cat({at::cos(angle), at::sin(angle)}, 1) : at::cat({at::sin(angle), at::cos(angle)}, 1);
  return width % 2 == 0 ? both : at::constant_pad_nd(both, {0, 1});
}

UNet unet_of(const std::filesystem::path& folder, io::NamedTensors weights, c10::ScalarType dtype) {
  ConfigReader reader(folder / "config.json");
  UNet unet(read_unet_config(reader));
  nn::adopt_state(*unet, std::move(weights), folder.string(), dtype);
  unet->eval();
  return unet;
}

}  // namespace

UNetImpl::UNetImpl(const UNetConfig& config) : config_(config) {
  const int64_t width = time_width(config);
  conv_in_ = register_module("conv_in", std::make_shared<Conv3x3Impl>(config.in_channels, config.channels.front()));
  const auto time = register_module("time_embedding", std::make_shared<torch::nn::Module>());
  time_first_ = time->register_module("linear_1", std::make_shared<DenseImpl>(config.channels.front(), width));
  time_second_ = time->register_module("linear_2", std::make_shared<DenseImpl>(width, width));
  if (config.guidance_width > 0)
    guidance_ = time->register_module("cond_proj", std::make_shared<DenseImpl>(config.guidance_width, config.channels.front(), false));
  add_down_blocks();
  // The middle never has only cross-attention, as in the original.
  LevelConfig middle = level_of(config, config.channels.size() - 1, 1, true, false);
  middle.resnet.output_scale = config.mid_scale;
  mid_ = register_module("mid_block", std::make_shared<MidBlock>(middle, config.channels.back()));
  add_up_blocks();
  norm_out_ = register_module("conv_norm_out", group_norm(config.norm_groups, config.channels.front(), config.norm_epsilon));
  conv_out_ = register_module("conv_out", std::make_shared<Conv3x3Impl>(config.channels.front(), config.out_channels));
  number_attentions();
}

void UNetImpl::add_down_blocks() {
  int64_t in = config_.channels.front();
  for (size_t i = 0; i < config_.channels.size(); ++i) {
    const LevelConfig level = level_of(config_, i, config_.layers[i], config_.attends_down(i), config_.only_cross_attention[i]);
    down_.push_back(std::make_shared<DownBlock>(level, in, config_.channels[i], config_.downsample_padding));
    in = config_.channels[i];
  }
  register_list(*this, "down_blocks", down_);
}

void UNetImpl::add_up_blocks() {
  int64_t in = config_.channels.back();
  for (size_t i = config_.channels.size(); i-- > 0;) {
    LevelConfig level = level_of(config_, i, config_.layers[i] + 1, config_.attends_up(i), config_.only_cross_attention[i]);
    level.resample = i > 0;
    up_.push_back(std::make_shared<UpBlock>(level, in, config_.channels[i], config_.channels[i > 0 ? i - 1 : 0]));
    in = config_.channels[i];
  }
  register_list(*this, "up_blocks", up_);
}

void UNetImpl::number_attentions() {
  for (const auto& item : named_modules(/*name_prefix=*/{}, /*include_self=*/false)) {
    AttentionImpl* attention = item.value()->as<AttentionImpl>();
    if (!attention || !attention->reads_text()) continue;
    attention->set_place(text_attentions_.size());
    text_attentions_.push_back(attention);
    attention_names_.push_back({item.key(), attention->width()});
  }
}

void UNetImpl::check(const at::Tensor& sample, const at::Tensor& timesteps, const TextContext& text, const at::Tensor& guidance) const {
  if (sample.dim() != 4 || sample.size(1) != config_.in_channels)
    throw core::UsageError("the UNet needs samples [B, {}, H, W], got {}", config_.in_channels, shape_of(sample));
  const int64_t batch = sample.size(0);
  if (timesteps.dim() > 1 || (timesteps.numel() != 1 && timesteps.numel() != batch))
    throw core::UsageError("the UNet needs one timestep, or one for each of {} samples, got {}", batch, shape_of(timesteps));
  const int64_t texts = text.text.dim() == 3 && text.text.size(2) == config_.text_width ? text.text.size(0) : 0;
  const bool several = timesteps.numel() == 1 && !guidance.defined() && batch > 0 && texts > 0 && texts % batch == 0;
  if (texts != 1 && texts != batch && !several)
    throw core::UsageError("the UNet needs text [B, L, {}] with B = 1 or {}, or with one timestep a multiple of that, got {}", config_.text_width, batch,
                           shape_of(text.text));
  if (!text.prepared.empty() && text.prepared.size() != text_attentions_.size())
    throw core::UsageError("the text was prepared by another UNet: it has keys for {} attentions, here are {}", text.prepared.size(), text_attentions_.size());
  if (guidance.defined() &&
      (!guidance_ || guidance.dim() != 2 || guidance.size(1) != config_.guidance_width || (guidance.size(0) != 1 && guidance.size(0) != batch)))
    throw core::UsageError("the UNet needs {}, got {}",
                           guidance_ ? fmt::format("a guidance embedding [1 or {}, {}]", batch, config_.guidance_width) : "no guidance embedding",
                           shape_of(guidance));
}

void UNetImpl::check_text(const at::Tensor& text) const {
  if (text.dim() != 3 || text.size(2) != config_.text_width)
    throw core::UsageError("the UNet needs text [B, L, {}], got {}", config_.text_width, shape_of(text));
}

TextContext UNetImpl::prepare(const at::Tensor& text, std::span<const TextProjection> projections) {
  check_text(text);
  if (projections.size() != text_attentions_.size())
    throw core::UsageError("the UNet has {} attentions that read text, here are projections for {}", text_attentions_.size(), projections.size());
  TextContext context(text);
  for (size_t i = 0; i < projections.size(); ++i) context.prepared.push_back(text_attentions_[i]->keys_of(text, projections[i]));
  return context;
}

TextContext UNetImpl::prepare(const at::Tensor& text) {
  check_text(text);
  TextContext context(text);
  for (AttentionImpl* attention : text_attentions_) context.prepared.push_back(attention->keys_of(text));
  return context;
}

at::Tensor UNetImpl::embed_time(const at::Tensor& timesteps, const at::Tensor& sample, const at::Tensor& guidance) {
  const at::Tensor times = timesteps.to(at::TensorOptions().device(sample.device()).dtype(at::kFloat)).reshape({-1});
  at::Tensor waves = sinusoids(times, config_.channels.front(), config_).to(sample.scalar_type());
  if (guidance.defined()) waves = waves + guidance_->forward(guidance.to(sample.options()));
  return at::silu(time_second_->forward(at::silu(time_first_->forward(waves))));
}

at::Tensor UNetImpl::forward(const at::Tensor& sample, double timestep, const TextContext& text) {
  return forward(sample, at::full({1}, timestep, sample.options().dtype(at::kFloat)), text);
}

at::Tensor UNetImpl::forward(const at::Tensor& sample, const at::Tensor& timesteps, const TextContext& text, const at::Tensor& guidance) {
  check(sample, timesteps, text, guidance);
  const at::Tensor time = embed_time(timesteps, sample, guidance);
  const at::Tensor centered = config_.center_input ? 2 * sample - 1 : sample;
  at::Tensor x = conv_in_->forward(centered.contiguous(at::MemoryFormat::ChannelsLast));
  std::vector<at::Tensor> skips{x};
  for (const auto& block : down_) x = block->forward(x, time, text, skips);
  x = mid_->forward(x, time, text);
  for (const auto& block : up_) x = block->forward(x, time, text, skips);
  return conv_out_->forward(normalized(norm_out_, x));
}

at::Tensor guidance_embedding(double scale, int64_t width) {
  // In float32 and in the original's order: angles reach thousands, where another order's rounding shows.
  const int64_t half = width / 2;
  const at::Tensor step = at::scalar_tensor(10000.0, at::kFloat).log() / double(half - 1);
  const at::Tensor angle = at::scalar_tensor(scale - 1, at::kFloat) * 1000.0 * at::exp(at::arange(half, at::kFloat) * -step);
  const at::Tensor both = at::cat({at::sin(angle), at::cos(angle)});
  return (width % 2 == 0 ? both : at::constant_pad_nd(both, {0, 1})).unsqueeze(0);
}

UNetConfig read_unet_config(const CheckpointFolder& checkpoint) {
  ConfigReader reader(checkpoint.component("unet", "UNet2DConditionModel") / "config.json");
  return read_unet_config(reader);
}

UNet load_unet(const CheckpointFolder& checkpoint, c10::ScalarType dtype, LowRankSums lora) {
  io::NamedTensors weights = checkpoint.weights("unet", "diffusion_pytorch_model");
  add_lora(weights, std::move(lora), dtype);
  return unet_of(checkpoint.component("unet", "UNet2DConditionModel"), std::move(weights), dtype);
}

UNet load_unet(const std::filesystem::path& folder) { return unet_of(folder, read_weights(folder, "diffusion_pytorch_model"), at::kFloat); }

}  // namespace syncdr::diffusion
