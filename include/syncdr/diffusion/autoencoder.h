#pragma once
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <optional>
#include <vector>

#include "syncdr/diffusion/checkpoint.h"

namespace syncdr::diffusion {

class Conv1x1Impl;

/// A network from maps to maps, [B, C, H, W] -> [B, C', H', W'].
class MapNetwork : public torch::nn::Module {
 public:
  virtual at::Tensor forward(const at::Tensor& maps) = 0;
};

/// AutoencoderKL's configuration, or AutoencoderTiny's; the defaults are those of diffusers' AutoencoderKL.
struct AutoencoderConfig {
  int64_t in_channels = 3, out_channels = 3;  ///< of images
  int64_t latent_channels = 4;
  std::vector<int64_t> channels{64};  ///< of each level, from the finest to the coarsest
  int64_t layers = 1;                 ///< residual blocks of a level of the encoder; the decoder has one more
  int64_t norm_groups = 32;
  double scaling_factor = 0.18215;                 ///< what latents are multiplied by before diffusion and divided by before decode()
  bool quant_conv = true, post_quant_conv = true;  ///< 1x1 convolutions behind the encoder and before the decoder
  bool mid_attention = true;

  /// Residual blocks of each level, from the first that computes to the last. All levels have one width then, and layers to mid_attention say nothing.
  struct Tiny {
    std::vector<int64_t> encoder_blocks, decoder_blocks;
  };
  std::optional<Tiny> tiny;  ///< AutoencoderTiny

  /// Pixels a latent pixel's side: 2 to the number of downsamplings.
  int64_t factor() const { return int64_t{1} << (channels.size() - 1); }
};

/// Throws DataError naming file and field: a value out of range, a block type or a field that is not supported.
AutoencoderConfig read_autoencoder_config(ConfigReader& reader);
AutoencoderConfig read_autoencoder_config(const CheckpointFolder& checkpoint);
AutoencoderConfig read_autoencoder_config(const std::filesystem::path& folder);  ///< of a component alone

/// A normal distribution of latents with independent values: mean and logvar [B, latent_channels, h, w], logvar within [-30, 20]; undefined: no spread
/// (AutoencoderTiny).
struct LatentDistribution {
  at::Tensor mean, logvar;
  const at::Tensor& mode() const { return mean; }
  /// noise: standard normal, of the mean's shape.
  at::Tensor sample(const at::Tensor& noise) const { return logvar.defined() ? mean + at::exp(0.5 * logvar) * noise : mean; }
};

/// The autoencoder between images in [-1, 1] and latents (Rombach et al., CVPR 2022), equal to diffusers' AutoencoderKL without tiles,
/// or its AutoencoderTiny (TAESD), which is far quicker and less exact.
/// Latents come and go unscaled: scaling_factor is the caller's. Made of a configuration, it has no values yet, as the UNet.
class AutoencoderImpl : public torch::nn::Module {
 public:
  explicit AutoencoderImpl(const AutoencoderConfig& config);

  /// images [B, in_channels, H, W]. Throws UsageError on another shape and on sides shorter than factor().
  LatentDistribution encode(const at::Tensor& images);
  /// [B, latent_channels, h, w] -> [B, out_channels, factor() h, factor() w]. Throws UsageError on another shape.
  at::Tensor decode(const at::Tensor& latents);
  int64_t factor() const { return config_.factor(); }
  const AutoencoderConfig& config() const { return config_; }

 private:
  AutoencoderConfig config_;
  std::shared_ptr<MapNetwork> encoder_, decoder_;
  std::shared_ptr<Conv1x1Impl> quant_, post_quant_;
};
TORCH_MODULE(Autoencoder);

/// The checkpoint's vae, on the CPU in this dtype, for evaluation; weights of this dtype keep the file's layout. Reads the names of older files too (query,
/// key, value, proj_attn). Throws DataError.
Autoencoder load_autoencoder(const CheckpointFolder& checkpoint, c10::ScalarType dtype = at::kFloat);
/// From a component's folder alone.
Autoencoder load_autoencoder(const std::filesystem::path& folder, c10::ScalarType dtype = at::kFloat);

}  // namespace syncdr::diffusion
