#include "clip_layers.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <fmt/format.h>

namespace syncdr::diffusion {

ClipLayersConfig read_clip_layers(ConfigReader& reader, const ClipLayersConfig& defaults) {
  const auto positive = [&](const char* name, int64_t fallback) {
    const int64_t value = reader.integer(name, fallback);
    if (value < 1 || value > 65536) reader.refuse(name, fmt::format("is {}; it must lie between 1 and 65536", value));
    return value;
  };
  ClipLayersConfig config;
  config.width = positive("hidden_size", defaults.width);
  config.hidden = positive("intermediate_size", defaults.hidden);
  config.layers = positive("num_hidden_layers", defaults.layers);
  config.heads = positive("num_attention_heads", defaults.heads);
  config.activation = reader.text("hidden_act", defaults.activation);
  config.norm_epsilon = reader.number("layer_norm_eps", defaults.norm_epsilon);
  config.attention_dropout = reader.number("attention_dropout", defaults.attention_dropout);
  if (config.width % config.heads != 0)
    reader.refuse("hidden_size", fmt::format("({}) is no multiple of num_attention_heads ({})", config.width, config.heads));
  if (config.activation != "quick_gelu" && config.activation != "gelu")
    reader.refuse("hidden_act", fmt::format("is \"{}\"; quick_gelu and gelu are supported", config.activation));
  if (!(config.attention_dropout >= 0 && config.attention_dropout < 1)) reader.refuse("attention_dropout", "must lie between 0 and 1");
  return config;
}

void ignore_common_fields(ConfigReader& reader) {
  reader.only("pruned_heads", boost::json::object());
  reader.only("is_decoder", false);
  reader.only("add_cross_attention", false);
  reader.only("chunk_size_feed_forward", 0);
  // dropout and initializer_*: unused by the original, and of weights before training; the rest describes the file, other tasks and text
  // generation.
  for (const char* name : {"architectures",
                           "dropout",
                           "initializer_factor",
                           "initializer_range",
                           "projection_dim",
                           "bos_token_id",
                           "eos_token_id",
                           "pad_token_id",
                           "sep_token_id",
                           "decoder_start_token_id",
                           "torch_dtype",
                           "dtype",
                           "transformers_version",
                           "return_dict",
                           "output_hidden_states",
                           "output_attentions",
                           "torchscript",
                           "use_bfloat16",
                           "tf_legacy_loss",
                           "tie_word_embeddings",
                           "tie_encoder_decoder",
                           "is_encoder_decoder",
                           "cross_attention_hidden_size",
                           "finetuning_task",
                           "id2label",
                           "label2id",
                           "num_labels",
                           "task_specific_params",
                           "problem_type",
                           "tokenizer_class",
                           "prefix",
                           "name_or_path",
                           "attn_implementation",
                           "gradient_checkpointing",
                           "max_length",
                           "min_length",
                           "do_sample",
                           "early_stopping",
                           "num_beams",
                           "temperature",
                           "top_k",
                           "top_p",
                           "typical_p",
                           "repetition_penalty",
                           "length_penalty",
                           "no_repeat_ngram_size",
                           "encoder_no_repeat_ngram_size",
                           "bad_words_ids",
                           "num_return_sequences",
                           "output_scores",
                           "return_dict_in_generate",
                           "forced_bos_token_id",
                           "forced_eos_token_id",
                           "remove_invalid_values",
                           "exponential_decay_length_penalty",
                           "suppress_tokens",
                           "begin_suppress_tokens",
                           "num_beam_groups",
                           "diversity_penalty"})
    reader.ignore(name);
}

torch::nn::LayerNorm clip_norm(const ClipLayersConfig& config) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({config.width}).eps(config.norm_epsilon));
}

ClipAttentionImpl::ClipAttentionImpl(const ClipLayersConfig& config)
    : heads_(config.heads),
      dropout_(config.attention_dropout),
      query_(register_module("q_proj", Dense(config.width, config.width))),
      key_(register_module("k_proj", Dense(config.width, config.width))),
      value_(register_module("v_proj", Dense(config.width, config.width))),
      out_(register_module("out_proj", Dense(config.width, config.width))) {}

at::Tensor ClipAttentionImpl::forward(const at::Tensor& input, bool causal) {
  const auto heads = [&](const at::Tensor& rows) { return rows.unflatten(-1, {heads_, -1}).transpose(1, 2); };  // [B, heads, L, D / heads]
  const at::Tensor mixed =
      at::scaled_dot_product_attention(heads(query_->forward(input)), heads(key_->forward(input)), heads(value_->forward(input)),
                                       /*attn_mask=*/{}, is_training() ? dropout_ : 0.0, causal);
  return out_->forward(mixed.transpose(1, 2).flatten(2));
}

ClipMlpImpl::ClipMlpImpl(const ClipLayersConfig& config)
    : quick_(config.activation == "quick_gelu"),
      first_(register_module("fc1", Dense(config.width, config.hidden))),
      second_(register_module("fc2", Dense(config.hidden, config.width))) {}

at::Tensor ClipMlpImpl::forward(const at::Tensor& input) {
  const at::Tensor x = first_->forward(input);
  return second_->forward(quick_ ? x * at::sigmoid(1.702 * x) : at::gelu(x));
}

ClipLayerImpl::ClipLayerImpl(const ClipLayersConfig& config)
    : attention_(register_module("self_attn", ClipAttention(config))),
      mlp_(register_module("mlp", ClipMlp(config))),
      norm1_(register_module("layer_norm1", clip_norm(config))),
      norm2_(register_module("layer_norm2", clip_norm(config))) {}

at::Tensor ClipLayerImpl::forward(const at::Tensor& input, bool causal) {
  const at::Tensor x = input + attention_->forward(norm1_->forward(input), causal);
  return x + mlp_->forward(norm2_->forward(x));
}

ClipLayersImpl::ClipLayersImpl(const ClipLayersConfig& config) {
  auto list = register_module("layers", torch::nn::ModuleList());
  for (int64_t i = 0; i < config.layers; ++i) {
    layers_.emplace_back(config);
    list->push_back(layers_.back());
  }
}

at::Tensor ClipLayersImpl::forward(const at::Tensor& input, bool causal) {
  at::Tensor x = input;
  for (ClipLayer& layer : layers_) x = layer->forward(x, causal);
  return x;
}

}  // namespace syncdr::diffusion
