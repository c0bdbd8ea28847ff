#include "attention.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>

#include "resnet_block.h"
#include "syncdr/kernels/flash_attention.h"

namespace syncdr::diffusion {
namespace {

constexpr double layer_epsilon = 1e-5;

/// [B, C, H, W] -> [B, H W, C]; no copy of a map in channels-last layout.
at::Tensor rows_of(const at::Tensor& map) { return map.permute({0, 2, 3, 1}).reshape({map.size(0), map.size(2) * map.size(3), map.size(1)}); }

/// The inverse, in channels-last layout.
at::Tensor map_of(const at::Tensor& rows, const at::Tensor& like) {
  return rows.reshape({like.size(0), like.size(2), like.size(3), like.size(1)}).permute({0, 3, 1, 2});
}

AttentionConfig attention_of(const TransformerConfig& config, bool reads_text) {
  return {.width = config.channels, .heads = config.heads, .text_width = reads_text ? config.text_width : 0};
}

}  // namespace

AttentionImpl::AttentionImpl(const AttentionConfig& config)
    : config_(config), query_(register_module("to_q", Dense(config.width, config.width, config.bias))),
      key_(register_module("to_k", Dense(reads_text() ? config.text_width : config.width, config.width, config.bias))),
      value_(register_module("to_v", Dense(reads_text() ? config.text_width : config.width, config.width, config.bias))) {
  out_ = Dense(config.width, config.width);
  register_list(*this, "to_out", std::vector<Dense>{out_});  // the original's second entry is dropout
}

at::Tensor AttentionImpl::split_heads(const at::Tensor& rows) const {
  return rows.view({rows.size(0), rows.size(1), config_.heads, config_.width / config_.heads}).transpose(1, 2);
}

KeyValue AttentionImpl::keys_of(const at::Tensor& source) { return {.key = split_heads(key_->forward(source)), .value = split_heads(value_->forward(source))}; }

KeyValue AttentionImpl::keys_of(const at::Tensor& source, const TextProjection& projection) const {
  return {.key = split_heads(at::linear(source, projection.key)), .value = split_heads(at::linear(source, projection.value))};
}

at::Tensor AttentionImpl::attend(const at::Tensor& x, const KeyValue& keys, const at::Tensor& residual) {
  const int64_t batch = x.size(0);
  const auto for_all = [&](const at::Tensor& of_text) { return of_text.size(0) == batch ? of_text : of_text.expand({batch, -1, -1, -1}); };
  const at::Tensor query = split_heads(query_->forward(x)), key = for_all(keys.key), value = for_all(keys.value);
  if (infers_on_cpu(x) && kernels::attention_takes(query, key, value)) return out_->forward(kernels::flash_attention(query, key, value), residual);
  return out_->forward(at::scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(x.sizes()), residual);
}

at::Tensor AttentionImpl::forward(const at::Tensor& x, const TextContext& text, const at::Tensor& residual) {
  if (!reads_text()) return attend(x, keys_of(x), residual);
  return attend(x, text.prepared.empty() ? keys_of(text.text) : text.prepared.at(place_), residual);
}

PixelAttentionImpl::PixelAttentionImpl(int64_t channels, int64_t groups, double epsilon)
    : AttentionImpl({.width = channels, .heads = 1, .bias = true}), norm_(register_module("group_norm", group_norm(groups, channels, epsilon))) {}

at::Tensor PixelAttentionImpl::forward_pixels(const at::Tensor& x) { return x + map_of(forward(rows_of(normalized(norm_, x, /*with_silu=*/false))), x); }

TransformerLayerImpl::TransformerLayerImpl(const TransformerConfig& config)
    : norm1_(register_module("norm1", layer_norm(config.channels, layer_epsilon))),
      norm2_(register_module("norm2", layer_norm(config.channels, layer_epsilon))),
      norm3_(register_module("norm3", layer_norm(config.channels, layer_epsilon))),
      attention1_(register_module("attn1", Attention(attention_of(config, config.only_cross)))),
      attention2_(register_module("attn2", Attention(attention_of(config, true)))), first_(Dense(config.channels, 8 * config.channels)),
      second_(Dense(4 * config.channels, config.channels)) {
  const auto net = register_module("ff", std::make_shared<torch::nn::Module>())->register_module("net", std::make_shared<torch::nn::Module>());
  net->register_module("0", std::make_shared<torch::nn::Module>())->register_module("proj", first_);
  net->register_module("2", second_);  // 1 is dropout
}

at::Tensor TransformerLayerImpl::forward(const at::Tensor& input, const TextContext& text) {
  const int64_t batch = std::max(input.size(0), text.text.size(0));
  at::Tensor x = attention1_->reads_text() ? repeated(input, batch) : input;
  x = repeated(attention1_->forward(norm1_->forward(x), text, x), batch);
  x = attention2_->forward(norm2_->forward(x), text, x);
  return second_->forward(first_->forward_geglu(norm3_->forward(x)), x);
}

TransformerImpl::Projection TransformerImpl::projection(const char* name, const TransformerConfig& config) {
  if (config.linear_projection) {
    const auto layer = register_module(name, Dense(config.channels, config.channels));
    return [layer](const at::Tensor& rows, const at::Tensor& residual) { return layer->forward(rows, residual); };
  }
  const auto layer = register_module(name, Conv1x1(config.channels, config.channels));
  return [layer](const at::Tensor& rows, const at::Tensor& residual) { return layer->forward_rows(rows, residual); };
}

TransformerImpl::TransformerImpl(const TransformerConfig& config)
    : norm_(register_module("norm", group_norm(config.groups, config.channels, 1e-6))), in_(projection("proj_in", config)),
      out_(projection("proj_out", config)) {
  for (int64_t i = 0; i < config.layers; ++i) layers_.emplace_back(config);
  register_list(*this, "transformer_blocks", layers_);
}

at::Tensor TransformerImpl::forward(const at::Tensor& x, const TextContext& text) {
  at::Tensor rows = in_(rows_of(normalized(norm_, x, /*with_silu=*/false)), {});
  for (TransformerLayer& layer : layers_) rows = layer->forward(rows, text);
  const at::Tensor residual = repeated(x, rows.size(0));
  return map_of(out_(rows, rows_of(residual)), residual);
}

}  // namespace syncdr::diffusion
