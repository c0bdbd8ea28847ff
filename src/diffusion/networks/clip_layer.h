#pragma once
#include <torch/nn/module.h>

#include "layers.h"
#include "syncdr/diffusion/checkpoint.h"

/// What CLIP's two towers share: the transformer layer, and its fields of a configuration. Parameters are named as in transformers.
namespace syncdr::diffusion {

struct ClipLayerConfig {
  int64_t width = 0;   ///< D
  int64_t hidden = 0;  ///< of the feed-forward network
  int64_t heads = 1;   ///< divides D
  bool quick_gelu = true;
  double norm_epsilon = 1e-5;
  double attention_dropout = 0;  ///< in training
  bool causal = false;           ///< a position sees itself and those before it; else all see all
};

/// Of a TextEncoderConfig or a VisionEncoderConfig.
template <class Config> ClipLayerConfig layer_of(const Config& config, bool causal) {
  return {.width = config.width,
          .hidden = config.hidden,
          .heads = config.heads,
          .quick_gelu = config.activation == "quick_gelu",
          .norm_epsilon = config.norm_epsilon,
          .attention_dropout = config.attention_dropout,
          .causal = causal};
}

/// x + attention(norm(x)), then x + linear(activation(linear(norm(x)))). [B, L, D] -> [B, L, D]
class ClipLayer : public torch::nn::Module {
 public:
  explicit ClipLayer(const ClipLayerConfig& config);
  at::Tensor forward(const at::Tensor& input);

 private:
  at::Tensor attend(const at::Tensor& input);

  ClipLayerConfig config_;
  Dense query_{nullptr}, key_{nullptr}, value_{nullptr}, out_{nullptr}, first_{nullptr}, second_{nullptr};
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
};

/// Passes over the fields that transformers writes into every configuration and that have no influence on what is computed here; refuses those
/// that would.
void check_common_fields(ConfigReader& reader);

/// The fields of both towers. Throws DataError naming file and field.
template <class Config> void read_common_fields(ConfigReader& reader, Config& config) {
  config.width = reader.integer("hidden_size", config.width, 1, 65536);
  config.hidden = reader.integer("intermediate_size", config.hidden, 1, 65536);
  config.layers = reader.integer("num_hidden_layers", config.layers, 1, 65536);
  config.heads = reader.integer("num_attention_heads", config.heads, 1, 65536);
  config.activation = reader.text("hidden_act", config.activation);
  config.norm_epsilon = reader.number("layer_norm_eps", config.norm_epsilon);
  config.attention_dropout = reader.number("attention_dropout", config.attention_dropout);
  if (config.width % config.heads != 0)
    reader.refuse("hidden_size", fmt::format("({}) is no multiple of num_attention_heads ({})", config.width, config.heads));
  if (config.activation != "quick_gelu" && config.activation != "gelu")
    reader.refuse("hidden_act", fmt::format("is \"{}\"; quick_gelu and gelu are supported", config.activation));
  if (!(config.attention_dropout >= 0 && config.attention_dropout < 1)) reader.refuse("attention_dropout", "must lie between 0 and 1");
  check_common_fields(reader);
}

}  // namespace syncdr::diffusion
