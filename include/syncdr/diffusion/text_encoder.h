#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <string>
#include <vector>

#include "syncdr/diffusion/checkpoint.h"
#include "syncdr/diffusion/lora.h"

namespace syncdr::diffusion {

class ClipLayer;

/// CLIPTextConfig; the defaults are transformers'.
struct TextEncoderConfig {
  int64_t vocabulary = 49408;
  int64_t positions = 77;                 ///< the longest text
  int64_t width = 512;                    ///< D
  int64_t hidden = 2048;                  ///< of the feed-forward networks
  int64_t layers = 12;                    ///< Stable Diffusion 2 takes the last but one of CLIP's 24 and says 23
  int64_t heads = 8;                      ///< divides D
  std::string activation = "quick_gelu";  ///< or "gelu"
  double norm_epsilon = 1e-5;
  double attention_dropout = 0.0;  ///< in training
};

/// config.json of a CLIPTextModel. Throws DataError naming file and field.
TextEncoderConfig read_text_encoder_config(const std::filesystem::path& file);

/// CLIP's text model (Radford et al., ICML 2021), equal to transformers' CLIPTextModel: embeddings, causal transformer, final layer norm. Made
/// of a configuration, it has no values yet, as the UNet.
class TextEncoderImpl : public torch::nn::Module {
 public:
  explicit TextEncoderImpl(const TextEncoderConfig& config);

  /// The last hidden state: ids [B, L] int64, L at most config().positions -> [B, L, D].
  /// Throws UsageError on other shapes and on ids outside the vocabulary (reading them waits for the device).
  at::Tensor forward(const at::Tensor& ids);
  /// forward() in two steps, for callers that put vectors of their own into the place of a pseudo-word: [B, L] int64 -> [B, L, D], without
  /// positions,
  at::Tensor token_vectors(const at::Tensor& ids);
  /// and from these on.
  at::Tensor encode(const at::Tensor& vectors);

  /// Appends a row to the token embedding; vector [D], or [N, D] for N rows. Returns the first one's id. Gradients and optimizers of the
  /// old parameter do not follow. Throws UsageError on another shape.
  int64_t add_tokens(const at::Tensor& vectors);
  /// The token embedding's rows, [vocabulary, D].
  at::Tensor& token_table() { return tokens_->weight; }
  const TextEncoderConfig& config() const { return config_; }

 private:
  TextEncoderConfig config_;
  torch::nn::Embedding tokens_{nullptr}, positions_{nullptr};
  std::vector<std::shared_ptr<ClipLayer>> layers_;
  torch::nn::LayerNorm final_norm_{nullptr};
};
TORCH_MODULE(TextEncoder);

/// Vectors that take a token's place in a text (ELITE, Wei et al., ICCV 2023): those of row b stand where place b was, what follows is shifted right, and what
/// then lies behind the last position is cut. Gradients reach the words.
///
/// vectors  [B, L, D], of token_vectors()
/// words    [B, n, D]
/// places   [B], each below L, with room for n words
/// returns  [B, L, D], for encode()
/// throws   UsageError on other shapes and places
at::Tensor with_words(const at::Tensor& vectors, const at::Tensor& words, const std::vector<int64_t>& places);

/// The checkpoint's text_encoder (a CLIPTextModel) with additions to its weights, on the CPU in this dtype, for evaluation. Throws DataError.
TextEncoder load_text_encoder(const CheckpointFolder& checkpoint, c10::ScalarType dtype = at::kFloat, LowRankSums lora = {});

}  // namespace syncdr::diffusion
