#pragma once
#include <torch/nn/modules/container/modulelist.h>

#include <string>

#include "layers.h"
#include "syncdr/diffusion/checkpoint.h"

/// The transformer that CLIP's text and vision models share (Radford et al., ICML 2021), parameters named as in transformers.
namespace syncdr::diffusion {

struct ClipLayersConfig {
  int64_t width = 512;    ///< D
  int64_t hidden = 2048;  ///< of the feed-forward networks
  int64_t layers = 12;
  int64_t heads = 8;                      ///< divides D
  std::string activation = "quick_gelu";  ///< or "gelu"
  double norm_epsilon = 1e-5;
  double attention_dropout = 0.0;  ///< in training
};

/// The fields of a text or vision model's configuration that its layers need. Throws DataError naming file and field.
ClipLayersConfig read_clip_layers(ConfigReader& reader, const ClipLayersConfig& defaults);

/// Ignores the fields that transformers writes into every configuration and that have no influence on what is computed here; refuses those
/// that would.
void ignore_common_fields(ConfigReader& reader);

class ClipAttentionImpl : public torch::nn::Module {
 public:
  explicit ClipAttentionImpl(const ClipLayersConfig& config);
  /// [B, L, D] -> [B, L, D]; causal: a position sees itself and those before it.
  at::Tensor forward(const at::Tensor& input, bool causal);

 private:
  int64_t heads_;
  double dropout_;
  Dense query_, key_, value_, out_;
};
TORCH_MODULE(ClipAttention);

/// Linear, activation, linear.
class ClipMlpImpl : public torch::nn::Module {
 public:
  explicit ClipMlpImpl(const ClipLayersConfig& config);
  at::Tensor forward(const at::Tensor& input);

 private:
  bool quick_;
  Dense first_, second_;
};
TORCH_MODULE(ClipMlp);

/// x + attention(norm(x)), then x + mlp(norm(x)).
class ClipLayerImpl : public torch::nn::Module {
 public:
  explicit ClipLayerImpl(const ClipLayersConfig& config);
  at::Tensor forward(const at::Tensor& input, bool causal);

 private:
  ClipAttention attention_;
  ClipMlp mlp_;
  torch::nn::LayerNorm norm1_, norm2_;
};
TORCH_MODULE(ClipLayer);

/// All layers after each other. [B, L, D] -> [B, L, D].
class ClipLayersImpl : public torch::nn::Module {
 public:
  explicit ClipLayersImpl(const ClipLayersConfig& config);
  at::Tensor forward(const at::Tensor& input, bool causal);

 private:
  std::vector<ClipLayer> layers_;
};
TORCH_MODULE(ClipLayers);

/// Layer normalisation over the last dimension, of size width.
torch::nn::LayerNorm clip_norm(const ClipLayersConfig& config);

}  // namespace syncdr::diffusion
