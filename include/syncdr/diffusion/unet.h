#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "syncdr/diffusion/checkpoint.h"
#include "syncdr/diffusion/lora.h"
#include "syncdr/diffusion/text_context.h"

namespace syncdr::diffusion {

class AttentionImpl;
class Conv3x3Impl;
class DenseImpl;
class DownBlock;
class MidBlock;
class UpBlock;

/// UNet2DConditionModel's configuration; the defaults are diffusers'. Levels are counted from the finest to the coarsest.
struct UNetConfig {
  int64_t in_channels = 4;  ///< 8 for InstructPix2Pix: noisy latents, then the image's
  int64_t out_channels = 4;
  int64_t sample_height = 0, sample_width = 0;  ///< of the latents it was trained with; 0: not said
  std::vector<std::string> down_blocks{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"};
  std::vector<std::string> up_blocks{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"};
  std::vector<int64_t> channels{320, 640, 1280, 1280};                 ///< of each level
  std::vector<int64_t> layers{2, 2, 2, 2};                             ///< residual blocks of each level on the way down; one more on the way up
  std::vector<int64_t> heads{8, 8, 8, 8};                              ///< attention heads of each level
  std::vector<int64_t> transformer_layers{1, 1, 1, 1};                 ///< of each level
  std::vector<bool> only_cross_attention{false, false, false, false};  ///< of each level: self-attention reads the text too
  int64_t text_width = 1280;                                           ///< D
  bool linear_projection = false;  ///< around transformers: linear layers, else 1x1 convolutions (the same but for their parameters' shape)
  bool center_input = false;       ///< samples come in [0, 1]
  bool flip_sin_to_cos = true;
  double frequency_shift = 0;
  int64_t norm_groups = 32;
  double norm_epsilon = 1e-5;
  int64_t downsample_padding = 1;  ///< 0: one row and one column of zeros at the end
  double mid_scale = 1;            ///< the middle's residual blocks are divided by it
  int64_t guidance_width = 0;      ///< of guidance_embedding, which networks distilled under guidance take; 0: no such network

  /// Whether the blocks of level i on the way down have attention, and those on the way up.
  bool attends_down(size_t i) const { return down_blocks[i].starts_with("CrossAttn"); }
  bool attends_up(size_t i) const { return up_blocks[up_blocks.size() - 1 - i].starts_with("CrossAttn"); }
};

/// A cross-attention, by its name among the modules ("down_blocks.0.attentions.0.transformer_blocks.0.attn2").
struct TextAttention {
  std::string name;
  int64_t width = 0;  ///< C of its keys and values
};

/// Throws DataError naming file and field: a value out of range, lists of different lengths, a block type or a field that is not supported.
UNetConfig read_unet_config(ConfigReader& reader);
UNetConfig read_unet_config(const CheckpointFolder& checkpoint);

/// The noise predictor of Stable Diffusion (Rombach et al., CVPR 2022), equal to diffusers' UNet2DConditionModel with its block types
/// DownBlock2D, CrossAttnDownBlock2D, UNetMidBlock2DCrossAttn, UpBlock2D and CrossAttnUpBlock2D, and with its parameters' names. Made of a
/// configuration, it has no values yet: nn::load_state or nn::initialise gives them.
class UNetImpl : public torch::nn::Module {
 public:
  explicit UNetImpl(const UNetConfig& config);

  /// sample     [B, C, H, W], of any size and layout; channels-last is used inside
  /// timesteps  [B], [1] or [], integers or fractions, on any device
  /// text       of 1 or B samples; of k B with one timestep: each sample is seen with k texts, those of the first round before those of the second, and
  ///            what lies before the first text is computed once
  /// guidance   [B or 1, guidance_width], of guidance_embedding; undefined: the network is told of none
  /// returns    [B or k B, out_channels, H, W]
  /// throws     UsageError on other shapes, and on a text prepared by another network
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps, const TextContext& text, const at::Tensor& guidance = {});
  at::Tensor forward(const at::Tensor& sample, double timestep, const TextContext& text);

  /// Keys and values of a text, valid as long as the parameters do not change: every step of a sampler needs the same. text [B, L, D] in
  /// the parameters' dtype and on their device.
  TextContext prepare(const at::Tensor& text);
  /// The same by other projections than the network's own, one for each of text_attentions(). Gradients reach them.
  TextContext prepare(const at::Tensor& text, std::span<const TextProjection> projections);
  /// The attentions that read text, in the order of TextContext::prepared.
  const std::vector<TextAttention>& text_attentions() const { return attention_names_; }

  const UNetConfig& config() const { return config_; }

 private:
  void add_down_blocks();
  void add_up_blocks();
  void number_attentions();
  void check_text(const at::Tensor& text) const;
  void check(const at::Tensor& sample, const at::Tensor& timesteps, const TextContext& text, const at::Tensor& guidance) const;
  /// [B or 1] -> [B or 1, 4 C]: sines and cosines, two linear layers, and the activation that each residual block would begin with.
  at::Tensor embed_time(const at::Tensor& timesteps, const at::Tensor& sample, const at::Tensor& guidance);

  UNetConfig config_;
  std::shared_ptr<Conv3x3Impl> conv_in_, conv_out_;
  std::shared_ptr<DenseImpl> time_first_, time_second_, guidance_;  ///< the last is null where the network takes none
  std::vector<std::shared_ptr<DownBlock>> down_;
  std::shared_ptr<MidBlock> mid_;
  std::vector<std::shared_ptr<UpBlock>> up_;
  torch::nn::GroupNorm norm_out_{nullptr};
  std::vector<AttentionImpl*> text_attentions_;  ///< owned by the blocks
  std::vector<TextAttention> attention_names_;
};
TORCH_MODULE(UNet);

/// What a network distilled under guidance is told of its scale (Luo et al., "Latent Consistency Models", 2023; w there is scale - 1):
/// sines, then cosines, of 1000 w at falling frequencies. -> [1, width] float32
at::Tensor guidance_embedding(double scale, int64_t width);

/// The checkpoint's unet with additions to its weights, on the CPU in this dtype, for evaluation; weights of this dtype keep the file's layout. Throws
/// DataError.
UNet load_unet(const CheckpointFolder& checkpoint, c10::ScalarType dtype = at::kFloat, LowRankSums lora = {});
/// From a component's folder alone.
UNet load_unet(const std::filesystem::path& folder);

}  // namespace syncdr::diffusion
