#include "tiny_autoencoder.h"

#include <ATen/ops/relu.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <functional>

#include "layers.h"

namespace syncdr::diffusion {
namespace {

constexpr int64_t most_channels = 8192, most_blocks = 64;
constexpr size_t most_levels = 16;

/// Three convolutions plus the input, ReLU between them and behind the sum (AutoencoderTinyBlock).
class Block : public torch::nn::Module {
 public:
  explicit Block(int64_t width) : first_(width, width), second_(width, width), third_(width, width) {
    const auto list = register_module("conv", std::make_shared<torch::nn::Module>());
    list->register_module("0", first_.ptr());
    list->register_module("2", second_.ptr());
    list->register_module("4", third_.ptr());
  }

  at::Tensor forward(const at::Tensor& x) {
    const at::Tensor inner = at::relu(second_->forward(at::relu(first_->forward(x))));
    return at::relu(third_->forward(inner, {}, x));
  }

 private:
  Conv3x3 first_, second_, third_;
};

/// diffusers' list of layers: what has parameters is registered under its place.
class Layers : public MapNetwork {
 protected:
  using Step = std::function<at::Tensor(const at::Tensor&)>;

  void add(Step step) { steps_.push_back(std::move(step)); }

  void add_convolution(int64_t in, int64_t out, int64_t stride, bool with_bias) {
    const auto layer = std::make_shared<Conv3x3Impl>(in, out, stride, /*padding=*/1, with_bias);
    list_->register_module(std::to_string(steps_.size()), layer);
    add([layer](const at::Tensor& x) { return layer->forward(x); });
  }

  void add_blocks(int64_t count, int64_t width) {
    for (int64_t i = 0; i < count; ++i) {
      const auto block = std::make_shared<Block>(width);
      list_->register_module(std::to_string(steps_.size()), block);
      add([block](const at::Tensor& x) { return block->forward(x); });
    }
  }

  at::Tensor through(const at::Tensor& maps) const {
    at::Tensor x = maps.contiguous(at::MemoryFormat::ChannelsLast);
    for (const Step& step : steps_) x = step(x);
    return x;
  }

 private:
  std::shared_ptr<torch::nn::Module> list_ = register_module("layers", std::make_shared<torch::nn::Module>());
  std::vector<Step> steps_;
};

class TinyEncoder : public Layers {
 public:
  explicit TinyEncoder(const AutoencoderConfig& config) {
    const int64_t width = config.channels.front();
    for (size_t level = 0; level < config.channels.size(); ++level) {
      if (level == 0) add_convolution(config.in_channels, width, 1, true);
      else add_convolution(width, width, 2, false);
      add_blocks(config.tiny->encoder_blocks[level], width);
    }
    add_convolution(width, config.latent_channels, 1, true);
  }

  at::Tensor forward(const at::Tensor& images) override { return through((images + 1) / 2); }
};

class TinyDecoder : public Layers {
 public:
  explicit TinyDecoder(const AutoencoderConfig& config) {
    const int64_t width = config.channels.front();
    add_convolution(config.latent_channels, width, 1, true);
    add([](const at::Tensor& x) { return at::relu(x); });
    for (size_t level = 0; level < config.channels.size(); ++level) {
      add_blocks(config.tiny->decoder_blocks[level], width);
      if (level + 1 == config.channels.size()) break;
      add([](const at::Tensor& x) { return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}); });
      add_convolution(width, width, 1, false);
    }
    add_convolution(width, config.out_channels, 1, true);
  }

  at::Tensor forward(const at::Tensor& latents) override { return 2 * through(3 * at::tanh(latents / 3)) - 1; }
};

/// The levels' numbers of blocks; as many as `levels`.
std::vector<int64_t> blocks(ConfigReader& reader, const char* name, const std::vector<int64_t>& fallback, size_t levels) {
  const std::vector<int64_t> counts = reader.integers(name, fallback);
  if (counts.size() != levels) reader.refuse(name, fmt::format("has {} levels, \"encoder_block_out_channels\" has {}", counts.size(), levels));
  for (const int64_t count : counts) reader.check_range(name, count, 0, most_blocks);
  return counts;
}

}  // namespace

std::shared_ptr<MapNetwork> tiny_encoder(const AutoencoderConfig& config) { return std::make_shared<TinyEncoder>(config); }

std::shared_ptr<MapNetwork> tiny_decoder(const AutoencoderConfig& config) { return std::make_shared<TinyDecoder>(config); }

AutoencoderConfig read_tiny_autoencoder_config(ConfigReader& reader) {
  AutoencoderConfig config{.channels = {64, 64, 64, 64}, .scaling_factor = 1, .quant_conv = false, .post_quant_conv = false, .mid_attention = false};
  config.in_channels = reader.integer("in_channels", config.in_channels, 1, most_channels);
  config.out_channels = reader.integer("out_channels", config.out_channels, 1, most_channels);
  config.latent_channels = reader.integer("latent_channels", config.latent_channels, 1, most_channels);
  config.channels = reader.integers("encoder_block_out_channels", config.channels);
  const size_t levels = config.channels.size();
  if (levels == 0 || levels > most_levels) reader.refuse("encoder_block_out_channels", fmt::format("must have 1 to {} levels", most_levels));
  reader.check_range("encoder_block_out_channels", config.channels.front(), 1, most_channels);
  // The original cannot be built with widths that differ: its convolutions between levels keep the width.
  for (const char* name : {"encoder_block_out_channels", "decoder_block_out_channels"}) {
    if (reader.integers(name, config.channels) != std::vector<int64_t>(levels, config.channels.front()))
      reader.refuse(name, fmt::format("must be {} times the encoder's first width, {}", levels, config.channels.front()));
  }
  config.tiny = AutoencoderConfig::Tiny{.encoder_blocks = blocks(reader, "num_encoder_blocks", {1, 3, 3, 3}, levels),
                                        .decoder_blocks = blocks(reader, "num_decoder_blocks", {3, 3, 3, 1}, levels)};
  config.scaling_factor = reader.number("scaling_factor", config.scaling_factor);
  if (!(config.scaling_factor > 0)) reader.refuse("scaling_factor", fmt::format("is {}; it must be above 0", config.scaling_factor));
  reader.only("act_fn", "relu");
  reader.only("upsample_fn", "nearest");
  reader.only("upsampling_scaling_factor", 2);
  if (reader.number("shift_factor", 0) != 0) reader.refuse("shift_factor", "is not 0, which is not supported");
  reader.ignore("block_out_channels force_upcast latent_magnitude latent_shift");  // the last two scale latents to bytes, for storage
  reader.finish();
  return config;
}

}  // namespace syncdr::diffusion
