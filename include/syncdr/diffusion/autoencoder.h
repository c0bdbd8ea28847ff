#pragma once
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <string>
#include <vector>

#include "syncdr/diffusion/checkpoint.h"

namespace syncdr::diffusion {

class Conv1x1Impl;
class EncoderImpl;
class DecoderImpl;

/// AutoencoderKL's configuration; the defaults are diffusers'.
struct AutoencoderConfig {
  int64_t in_channels = 3, out_channels = 3;  ///< of images
  int64_t latent_channels = 4;
  std::vector<int64_t> channels{64};  ///< of each level, from the finest to the coarsest
  int64_t layers = 1;                 ///< residual blocks of a level of the encoder; the decoder has one more
  int64_t norm_groups = 32;
  double scaling_factor = 0.18215;                 ///< what latents are multiplied by before diffusion and divided by before decode()
  bool quant_conv = true, post_quant_conv = true;  ///< 1x1 convolutions behind the encoder and before the decoder
  bool mid_attention = true;

  /// Pixels a latent pixel's side: 2 to the number of downsamplings.
  int64_t factor() const { return int64_t{1} << (channels.size() - 1); }
};

/// Throws DataError naming file and field: a value out of range, a block type or a field that is not supported.
AutoencoderConfig read_autoencoder_config(ConfigReader& reader);
AutoencoderConfig read_autoencoder_config(const CheckpointFolder& checkpoint);

/// A normal distribution of latents with independent values: mean and logvar [B, latent_channels, h, w], logvar within [-30, 20].
struct LatentDistribution {
  at::Tensor mean, logvar;
  const at::Tensor& mode() const { return mean; }
  /// noise: standard normal, of the mean's shape.
  at::Tensor sample(const at::Tensor& noise) const { return mean + at::exp(0.5 * logvar) * noise; }
};

/// The autoencoder between images in [-1, 1] and latents (Rombach et al., CVPR 2022), equal to diffusers' AutoencoderKL without tiles.
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
  std::shared_ptr<EncoderImpl> encoder_;
  std::shared_ptr<DecoderImpl> decoder_;
  std::shared_ptr<Conv1x1Impl> quant_, post_quant_;
};
TORCH_MODULE(Autoencoder);

/// The checkpoint's vae, on the CPU in this dtype, for evaluation; weights of this dtype keep the file's layout. Reads the names of older files too (query,
/// key, value, proj_attn). Throws DataError.
Autoencoder load_autoencoder(const CheckpointFolder& checkpoint, c10::ScalarType dtype = at::kFloat);
/// From a component's folder alone.
Autoencoder load_autoencoder(const std::filesystem::path& folder);

}  // namespace syncdr::diffusion
