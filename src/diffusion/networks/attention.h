#pragma once
#include <functional>
#include <vector>

#include "layers.h"
#include "syncdr/diffusion/unet.h"

/// Attention of UNet and autoencoder. Parameters are named as in diffusers.
namespace syncdr::diffusion {

struct AttentionConfig {
  int64_t width = 0;       ///< C of queries and output
  int64_t heads = 1;       ///< divides C
  int64_t text_width = 0;  ///< keys and values come from a text of this width; 0: self-attention
  bool bias = false;       ///< of queries, keys and values; the output has one
};

class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const AttentionConfig& config);

  bool reads_text() const { return config_.text_width > 0; }
  int64_t width() const { return config_.width; }
  /// The place in TextContext::prepared of an attention that reads text.
  void set_place(size_t place) { place_ = place; }
  /// [B, L, text_width or C] -> [B, heads, L, C / heads] each
  KeyValue keys_of(const at::Tensor& source);
  KeyValue keys_of(const at::Tensor& source, const TextProjection& projection) const;
  /// x [B, N, C] -> [B, N, C]; residual is added where it is defined
  at::Tensor forward(const at::Tensor& x, const TextContext& text, const at::Tensor& residual = {});
  /// Self-attention.
  at::Tensor forward(const at::Tensor& x) { return attend(x, keys_of(x), {}); }

 private:
  at::Tensor attend(const at::Tensor& x, const KeyValue& keys, const at::Tensor& residual);
  at::Tensor split_heads(const at::Tensor& rows) const;  ///< [B, N, C] -> [B, heads, N, C / heads], a view

  AttentionConfig config_;
  size_t place_ = 0;
  Dense query_, key_, value_, out_{nullptr};
};
TORCH_MODULE(Attention);

/// The autoencoder's: a group norm, self-attention over all pixels with one head, plus the input.
class PixelAttentionImpl : public AttentionImpl {
 public:
  PixelAttentionImpl(int64_t channels, int64_t groups, double epsilon);
  /// [B, C, H, W] -> [B, C, H, W]
  at::Tensor forward_pixels(const at::Tensor& x);

 private:
  torch::nn::GroupNorm norm_;
};
TORCH_MODULE(PixelAttention);

struct TransformerConfig {
  int64_t channels = 0;
  int64_t heads = 8;
  int64_t layers = 1;
  int64_t text_width = 768;
  int64_t groups = 32;
  bool linear_projection = false;
  bool only_cross = false;  ///< the first attention of each layer reads the text too
};

/// x + attention(norm(x)), the same with the text, then x + linear(GEGLU(norm(x))) (BasicTransformerBlock).
class TransformerLayerImpl : public torch::nn::Module {
 public:
  explicit TransformerLayerImpl(const TransformerConfig& config);
  /// input [B, N, C], text of 1 or k B samples -> [B or k B, N, C]
  at::Tensor forward(const at::Tensor& input, const TextContext& text);

 private:
  torch::nn::LayerNorm norm1_, norm2_, norm3_;
  Attention attention1_, attention2_;
  Dense first_, second_;  // of the feed-forward network
};
TORCH_MODULE(TransformerLayer);

/// Transformer layers over all pixels of a map, plus the map (Transformer2DModel).
class TransformerImpl : public torch::nn::Module {
 public:
  explicit TransformerImpl(const TransformerConfig& config);
  /// x [B, C, H, W], text of 1 or k B samples -> [B or k B, C, H, W]
  at::Tensor forward(const at::Tensor& x, const TextContext& text);

 private:
  /// A linear layer over channels, stored as such or as a 1x1 convolution.
  using Projection = std::function<at::Tensor(const at::Tensor& rows, const at::Tensor& residual)>;
  Projection projection(const char* name, const TransformerConfig& config);

  torch::nn::GroupNorm norm_;
  Projection in_, out_;
  std::vector<TransformerLayer> layers_;
};
TORCH_MODULE(Transformer);

}  // namespace syncdr::diffusion
