#include "syncdr/diffusion/autoencoder.h"

#include <array>

#include "attention.h"
#include "resnet_block.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"
#include "tiny_autoencoder.h"

namespace syncdr::diffusion {
namespace {

constexpr double epsilon = 1e-6;
constexpr int64_t most_channels = 8192;

/// Residual blocks, registered as resnets.0, ... of a level.
std::vector<ResnetBlock> resnets(torch::nn::Module& level, const AutoencoderConfig& config, int64_t in, int64_t out, int64_t count) {
  std::vector<ResnetBlock> made;
  for (int64_t i = 0; i < count; ++i)
    made.emplace_back(ResnetBlockConfig{.in = i == 0 ? in : out, .out = out, .groups = config.norm_groups, .epsilon = epsilon});
  register_list(level, "resnets", made);
  return made;
}

}  // namespace

/// Residual blocks, then the change of size, if there is one.
class AutoencoderLevel : public torch::nn::Module {
 public:
  AutoencoderLevel(const AutoencoderConfig& config, int64_t in, int64_t out, int64_t count) : resnets_(resnets(*this, config, in, out, count)) {}

  void end_with(const Downsample& downsample) {
    downsample_ = downsample;
    register_list(*this, "downsamplers", std::vector<Downsample>{downsample});
  }

  void end_with(const Upsample& upsample) {
    upsample_ = upsample;
    register_list(*this, "upsamplers", std::vector<Upsample>{upsample});
  }

  at::Tensor forward(at::Tensor x) {
    for (ResnetBlock& block : resnets_) x = block->forward(x);
    if (downsample_) return downsample_->forward(x);
    return upsample_ ? upsample_->forward(x, 2 * x.size(2), 2 * x.size(3)) : x;
  }

 private:
  std::vector<ResnetBlock> resnets_;
  Downsample downsample_{nullptr};
  Upsample upsample_{nullptr};
};

/// Residual block, attention, residual block (UNetMidBlock2D).
class AutoencoderMiddle : public torch::nn::Module {
 public:
  explicit AutoencoderMiddle(const AutoencoderConfig& config) : resnets_(resnets(*this, config, config.channels.back(), config.channels.back(), 2)) {
    if (config.mid_attention) attentions_.emplace_back(config.channels.back(), config.norm_groups, epsilon);
    register_list(*this, "attentions", attentions_);
  }

  at::Tensor forward(const at::Tensor& input) {
    at::Tensor x = resnets_[0]->forward(input);
    for (PixelAttention& attention : attentions_) x = attention->forward_pixels(x);
    return resnets_[1]->forward(x);
  }

 private:
  std::vector<ResnetBlock> resnets_;
  std::vector<PixelAttention> attentions_;
};

/// Levels down, middle, convolution. [B, in, H, W] -> [B, 2 latent, h, w], mean and logvar.
class Encoder : public MapNetwork {
 public:
  explicit Encoder(const AutoencoderConfig& config) {
    int64_t in = config.channels.front();
    conv_in_ = register_module("conv_in", Conv3x3(config.in_channels, in));
    for (const int64_t out : config.channels) {
      levels_.push_back(std::make_shared<AutoencoderLevel>(config, in, out, config.layers));
      if (levels_.size() < config.channels.size()) levels_.back()->end_with(Downsample(out, /*padding=*/0));
      in = out;
    }
    register_list(*this, "down_blocks", levels_);
    middle_ = register_module("mid_block", std::make_shared<AutoencoderMiddle>(config));
    norm_ = register_module("conv_norm_out", group_norm(config.norm_groups, in, epsilon));
    conv_out_ = register_module("conv_out", Conv3x3(in, 2 * config.latent_channels));
  }

  at::Tensor forward(const at::Tensor& images) override {
    at::Tensor x = conv_in_->forward(images.contiguous(at::MemoryFormat::ChannelsLast));
    for (const auto& level : levels_) x = level->forward(std::move(x));
    return conv_out_->forward(normalized(norm_, middle_->forward(x)));
  }

 private:
  std::vector<std::shared_ptr<AutoencoderLevel>> levels_;
  std::shared_ptr<AutoencoderMiddle> middle_;
  Conv3x3 conv_in_{nullptr}, conv_out_{nullptr};
  torch::nn::GroupNorm norm_{nullptr};
};

/// Middle, levels up, convolution. [B, latent, h, w] -> [B, out, H, W].
class Decoder : public MapNetwork {
 public:
  explicit Decoder(const AutoencoderConfig& config) {
    int64_t in = config.channels.back();
    conv_in_ = register_module("conv_in", Conv3x3(config.latent_channels, in));
    middle_ = register_module("mid_block", std::make_shared<AutoencoderMiddle>(config));
    for (size_t i = config.channels.size(); i-- > 0;) {
      const int64_t out = config.channels[i];
      levels_.push_back(std::make_shared<AutoencoderLevel>(config, in, out, config.layers + 1));
      if (i > 0) levels_.back()->end_with(Upsample(out));
      in = out;
    }
    register_list(*this, "up_blocks", levels_);
    norm_ = register_module("conv_norm_out", group_norm(config.norm_groups, in, epsilon));
    conv_out_ = register_module("conv_out", Conv3x3(in, config.out_channels));
  }

  at::Tensor forward(const at::Tensor& latents) override {
    at::Tensor x = middle_->forward(conv_in_->forward(latents.contiguous(at::MemoryFormat::ChannelsLast)));
    for (const auto& level : levels_) x = level->forward(std::move(x));
    return conv_out_->forward(normalized(norm_, x));
  }

 private:
  std::vector<std::shared_ptr<AutoencoderLevel>> levels_;
  std::shared_ptr<AutoencoderMiddle> middle_;
  Conv3x3 conv_in_{nullptr}, conv_out_{nullptr};
  torch::nn::GroupNorm norm_{nullptr};
};

namespace {

void check_blocks(ConfigReader& reader, const char* name, const std::string& type, size_t levels) {
  const std::vector<std::string> types = reader.texts(name, {type});
  for (const std::string& found : types) {
    if (found != type) reader.refuse(name, fmt::format("holds \"{}\"; only \"{}\" is supported", found, type));
  }
  if (types.size() != levels) reader.refuse(name, fmt::format("has {} blocks for the {} levels of \"block_out_channels\"", types.size(), levels));
}

void refuse_other_autoencoders(ConfigReader& reader) {
  // Other scalings than by one factor: whoever reads scaling_factor alone would scale wrongly.
  for (const char* name : {"shift_factor", "latents_mean", "latents_std"}) reader.only(name, nullptr);
  // A request to the pipeline to compute in float32 (dtypes are the caller's here); the original's size of tiles, which are not used unless asked for.
  reader.ignore("force_upcast sample_size");
}

void check_config(const ConfigReader& reader, const AutoencoderConfig& config) {
  for (const int64_t channels : config.channels) {
    reader.check_range("block_out_channels", channels, 1, most_channels);
    if (channels % config.norm_groups != 0)
      reader.refuse("norm_num_groups", fmt::format("is {}, which does not divide a level's {} channels", config.norm_groups, channels));
  }
  if (!(config.scaling_factor > 0)) reader.refuse("scaling_factor", fmt::format("is {}; it must be above 0", config.scaling_factor));
}

/// The attention's parameters had other names before diffusers 0.18, and files have not been rewritten.
io::NamedTensors with_new_names(io::NamedTensors weights) {
  static constexpr std::array<std::array<const char*, 2>, 4> renamed{{{"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"}}};
  for (const char* part : {"encoder", "decoder"}) {
    for (const auto& [before, now] : renamed) {
      for (const char* kind : {"weight", "bias"}) {
        const std::string prefix = fmt::format("{}.mid_block.attentions.0.", part), name = fmt::format("{}{}.{}", prefix, now, kind);
        auto node = weights.extract(fmt::format("{}{}.{}", prefix, before, kind));
        if (node.empty()) continue;
        if (!weights.contains(name)) node.key() = name;  // both: strict loading will refuse the old one
        weights.insert(std::move(node));
      }
    }
  }
  return weights;
}

std::filesystem::path folder_of(const CheckpointFolder& checkpoint) {
  return checkpoint.component("vae", checkpoint.class_of("vae") == "AutoencoderTiny" ? "AutoencoderTiny" : "AutoencoderKL");
}

Autoencoder autoencoder_of(const std::filesystem::path& folder, io::NamedTensors weights, c10::ScalarType dtype) {
  ConfigReader reader(folder / "config.json");
  Autoencoder autoencoder(read_autoencoder_config(reader));
  nn::adopt_state(*autoencoder, with_new_names(std::move(weights)), folder.string(), dtype);
  autoencoder->eval();
  return autoencoder;
}

void check_maps(const at::Tensor& maps, const char* what, int64_t channels, int64_t side) {
  if (maps.dim() != 4 || maps.size(1) != channels || maps.size(2) < side || maps.size(3) < side)
    throw core::UsageError("the autoencoder needs {} [B, {}, H, W] with sides of at least {}, got [{}]", what, channels, side, fmt::join(maps.sizes(), ", "));
}

}  // namespace

AutoencoderConfig read_autoencoder_config(ConfigReader& reader) {
  const std::string kind = reader.text("_class_name", "AutoencoderKL");
  if (kind == "AutoencoderTiny") return read_tiny_autoencoder_config(reader);
  if (kind != "AutoencoderKL") reader.refuse("_class_name", fmt::format("is \"{}\"; AutoencoderKL and AutoencoderTiny are supported", kind));
  AutoencoderConfig config;
  refuse_other_autoencoders(reader);
  config.in_channels = reader.integer("in_channels", config.in_channels, 1, most_channels);
  config.out_channels = reader.integer("out_channels", config.out_channels, 1, most_channels);
  config.latent_channels = reader.integer("latent_channels", config.latent_channels, 1, most_channels);
  config.channels = reader.integers("block_out_channels", config.channels);
  if (config.channels.empty() || config.channels.size() > 16) reader.refuse("block_out_channels", "must have 1 to 16 levels");
  check_blocks(reader, "down_block_types", "DownEncoderBlock2D", config.channels.size());
  check_blocks(reader, "up_block_types", "UpDecoderBlock2D", config.channels.size());
  config.layers = reader.integer("layers_per_block", config.layers, 1, 64);
  reader.refuse_null("norm_num_groups");
  config.norm_groups = reader.integer("norm_num_groups", config.norm_groups, 1, most_channels);
  config.scaling_factor = reader.number("scaling_factor", config.scaling_factor);
  config.quant_conv = reader.boolean("use_quant_conv", config.quant_conv);
  config.post_quant_conv = reader.boolean("use_post_quant_conv", config.post_quant_conv);
  config.mid_attention = reader.boolean("mid_block_add_attention", config.mid_attention);
  const std::string activation = reader.text("act_fn", "silu");
  if (activation != "silu" && activation != "swish") reader.only("act_fn", "silu");
  check_config(reader, config);
  reader.finish();
  return config;
}

AutoencoderImpl::AutoencoderImpl(const AutoencoderConfig& config)
    : config_(config), encoder_(register_module("encoder", config.tiny ? tiny_encoder(config) : std::make_shared<Encoder>(config))),
      decoder_(register_module("decoder", config.tiny ? tiny_decoder(config) : std::make_shared<Decoder>(config))) {
  const int64_t latent = config.latent_channels;
  if (config.quant_conv) quant_ = register_module("quant_conv", std::make_shared<Conv1x1Impl>(2 * latent, 2 * latent));
  if (config.post_quant_conv) post_quant_ = register_module("post_quant_conv", std::make_shared<Conv1x1Impl>(latent, latent));
}

LatentDistribution AutoencoderImpl::encode(const at::Tensor& images) {
  check_maps(images, "images", config_.in_channels, factor());
  const at::Tensor encoded = encoder_->forward(images);
  if (config_.tiny) return {.mean = encoded, .logvar = {}};
  const std::vector<at::Tensor> moments = (quant_ ? quant_->forward(encoded) : encoded).chunk(2, 1);
  return {.mean = moments[0], .logvar = moments[1].clamp(-30.0, 20.0)};
}

at::Tensor AutoencoderImpl::decode(const at::Tensor& latents) {
  check_maps(latents, "latents", config_.latent_channels, 1);
  return decoder_->forward(post_quant_ ? post_quant_->forward(latents) : latents);
}

AutoencoderConfig read_autoencoder_config(const CheckpointFolder& checkpoint) { return read_autoencoder_config(folder_of(checkpoint)); }

AutoencoderConfig read_autoencoder_config(const std::filesystem::path& folder) {
  ConfigReader reader(folder / "config.json");
  return read_autoencoder_config(reader);
}

Autoencoder load_autoencoder(const CheckpointFolder& checkpoint, c10::ScalarType dtype) {
  return autoencoder_of(folder_of(checkpoint), checkpoint.weights("vae", "diffusion_pytorch_model"), dtype);
}

Autoencoder load_autoencoder(const std::filesystem::path& folder, c10::ScalarType dtype) {
  return autoencoder_of(folder, read_weights(folder, "diffusion_pytorch_model"), dtype);
}

}  // namespace syncdr::diffusion
