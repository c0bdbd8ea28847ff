#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace syncdr::diffusion {

class ClipLayer;

/// CLIPVisionConfig; the defaults are transformers'.
struct VisionEncoderConfig {
  int64_t side = 224;   ///< of an image, in pixels
  int64_t patch = 32;   ///< of a patch; those beyond the last whole one are not seen
  int64_t width = 768;  ///< D
  int64_t hidden = 3072;
  int64_t layers = 12;
  int64_t heads = 12;
  std::string activation = "quick_gelu";  ///< or "gelu"
  double norm_epsilon = 1e-5;
  double attention_dropout = 0.0;  ///< in training

  /// Positions: the class token, then the patches, row after row.
  int64_t positions() const { return 1 + (side / patch) * (side / patch); }
};

/// config.json in the folder of a CLIPVisionModel, or of a CLIPModel, whose vision_config counts. Throws DataError naming file and field.
VisionEncoderConfig read_vision_encoder_config(const std::filesystem::path& folder);

/// CLIP's image tower (Radford et al., ICML 2021), equal to transformers' CLIPVisionModel. Made of a configuration, it has no values yet, as the UNet.
class VisionEncoderImpl : public torch::nn::Module {
 public:
  explicit VisionEncoderImpl(const VisionEncoderConfig& config);

  /// images [B, 3, side, side], as clip_pixels gives them -> layers + 1 hidden states [B, positions, D]: what enters the first layer (after pre_layrnorm),
  /// then what each gives; the last is before post_layernorm, which is read and not applied. Throws UsageError on another shape.
  std::vector<at::Tensor> forward(const at::Tensor& images);
  const VisionEncoderConfig& config() const { return config_; }

 private:
  VisionEncoderConfig config_;
  at::Tensor class_;
  torch::nn::Conv2d patches_{nullptr};
  torch::nn::Embedding positions_{nullptr};
  torch::nn::LayerNorm norm_before_{nullptr};
  std::vector<std::shared_ptr<ClipLayer>> layers_;
};
TORCH_MODULE(VisionEncoder);

/// The image tower in the folder of a CLIPVisionModel (with or without projection) or of a CLIPModel, names with and without `vision_model.`, on the CPU in
/// float32, for evaluation. Throws DataError.
VisionEncoder load_vision_encoder(const std::filesystem::path& folder);

/// Pictures [B, 3, H, W] float32 in [-1, 1] -> [B, 3, side, side], as CLIP takes them: resized, the sides apart, by Pillow's bicubic filter, rows before
/// columns, with bytes after each as there (most are Pillow's own, the others one or two beside), then CLIP's mean and deviation.
at::Tensor clip_pixels(const at::Tensor& pictures, int64_t side);

}  // namespace syncdr::diffusion
