#include "syncdr/diffusion/text_encoder.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>

#include <algorithm>

#include "layers.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {

/// x + attention(norm(x)), then x + linear(activation(linear(norm(x)))). [B, L, D] -> [B, L, D]
class ClipLayer : public torch::nn::Module {
 public:
  explicit ClipLayer(const TextEncoderConfig& config) : heads_(config.heads), dropout_(config.attention_dropout), quick_(config.activation == "quick_gelu") {
    const auto attention = register_module("self_attn", std::make_shared<torch::nn::Module>());
    query_ = attention->register_module("q_proj", Dense(config.width, config.width));
    key_ = attention->register_module("k_proj", Dense(config.width, config.width));
    value_ = attention->register_module("v_proj", Dense(config.width, config.width));
    out_ = attention->register_module("out_proj", Dense(config.width, config.width));
    const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>());
    first_ = mlp->register_module("fc1", Dense(config.width, config.hidden));
    second_ = mlp->register_module("fc2", Dense(config.hidden, config.width));
    norm1_ = register_module("layer_norm1", layer_norm(config.width, config.norm_epsilon));
    norm2_ = register_module("layer_norm2", layer_norm(config.width, config.norm_epsilon));
  }

  at::Tensor forward(const at::Tensor& input) {
    const at::Tensor x = input + attend(norm1_->forward(input));
    const at::Tensor inner = first_->forward(norm2_->forward(x));
    return x + second_->forward(quick_ ? inner * at::sigmoid(1.702 * inner) : at::gelu(inner));
  }

 private:
  /// A position sees itself and those before it.
  at::Tensor attend(const at::Tensor& input) {
    const auto heads = [&](const at::Tensor& rows) { return rows.unflatten(-1, {heads_, -1}).transpose(1, 2); };  // [B, heads, L, D / heads]
    const at::Tensor mixed = at::scaled_dot_product_attention(heads(query_->forward(input)), heads(key_->forward(input)), heads(value_->forward(input)),
                                                              /*attn_mask=*/{}, is_training() ? dropout_ : 0.0, /*is_causal=*/true);
    return out_->forward(mixed.transpose(1, 2).flatten(2));
  }

  int64_t heads_;
  double dropout_;
  bool quick_;
  Dense query_{nullptr}, key_{nullptr}, value_{nullptr}, out_{nullptr}, first_{nullptr}, second_{nullptr};
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
};

namespace {

/// Passes over the fields that transformers writes into every configuration and that have no influence on what is computed here; refuses those
/// that would.
void check_common_fields(ConfigReader& reader) {
  reader.only("pruned_heads", boost::json::object());
  reader.only("is_decoder", false);
  reader.only("add_cross_attention", false);
  reader.only("chunk_size_feed_forward", 0);
  reader.ignore("dropout initializer_factor initializer_range");  // unused by the original, and of weights before training
  // What describes the file, other tasks and text generation.
  reader.ignore(R"(
      architectures projection_dim bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id torch_dtype dtype
      transformers_version return_dict output_hidden_states output_attentions torchscript use_bfloat16 tf_legacy_loss tie_word_embeddings
      tie_encoder_decoder is_encoder_decoder cross_attention_hidden_size finetuning_task id2label label2id num_labels task_specific_params
      problem_type tokenizer_class prefix name_or_path attn_implementation gradient_checkpointing max_length min_length do_sample
      early_stopping num_beams temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
      encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores return_dict_in_generate forced_bos_token_id
      forced_eos_token_id remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens num_beam_groups
      diversity_penalty)");
}

}  // namespace

TextEncoderConfig read_text_encoder_config(const std::filesystem::path& file) {
  ConfigReader reader(file);
  TextEncoderConfig config;
  reader.only("model_type", "clip_text_model");
  config.width = reader.integer("hidden_size", config.width, 1, 65536);
  config.hidden = reader.integer("intermediate_size", config.hidden, 1, 65536);
  config.layers = reader.integer("num_hidden_layers", config.layers, 1, 65536);
  config.heads = reader.integer("num_attention_heads", config.heads, 1, 65536);
  config.activation = reader.text("hidden_act", config.activation);
  config.norm_epsilon = reader.number("layer_norm_eps", config.norm_epsilon);
  config.attention_dropout = reader.number("attention_dropout", config.attention_dropout);
  config.vocabulary = reader.integer("vocab_size", config.vocabulary);
  config.positions = reader.integer("max_position_embeddings", config.positions);
  if (config.width % config.heads != 0)
    reader.refuse("hidden_size", fmt::format("({}) is no multiple of num_attention_heads ({})", config.width, config.heads));
  if (config.activation != "quick_gelu" && config.activation != "gelu")
    reader.refuse("hidden_act", fmt::format("is \"{}\"; quick_gelu and gelu are supported", config.activation));
  if (!(config.attention_dropout >= 0 && config.attention_dropout < 1)) reader.refuse("attention_dropout", "must lie between 0 and 1");
  if (config.vocabulary < 1 || config.vocabulary > (int64_t{1} << 24)) reader.refuse("vocab_size", "must lie between 1 and 2^24");
  if (config.positions < 1 || config.positions > 65536) reader.refuse("max_position_embeddings", "must lie between 1 and 65536");
  check_common_fields(reader);
  reader.finish();
  return config;
}

TextEncoderImpl::TextEncoderImpl(const TextEncoderConfig& config) : config_(config) {
  using namespace torch::nn;
  // The levels exist for the parameters' names alone.
  const auto model = register_module("text_model", std::make_shared<Module>());
  const auto embeddings = model->register_module("embeddings", std::make_shared<Module>());
  tokens_ = embeddings->register_module("token_embedding", embedding(config.vocabulary, config.width));
  positions_ = embeddings->register_module("position_embedding", embedding(config.positions, config.width));
  for (int64_t i = 0; i < config.layers; ++i) layers_.push_back(std::make_shared<ClipLayer>(config));
  register_list(*model->register_module("encoder", std::make_shared<Module>()), "layers", layers_);
  final_norm_ = model->register_module("final_layer_norm", layer_norm(config.width, config.norm_epsilon));
}

at::Tensor TextEncoderImpl::token_vectors(const at::Tensor& ids) {
  if (ids.dim() != 2 || ids.scalar_type() != at::kLong || ids.size(1) < 1 || ids.size(1) > config_.positions)
    throw core::UsageError("the text encoder needs ids [B, L] int64 with L from 1 to {}, got {} [{}]", config_.positions, c10::toString(ids.scalar_type()),
                           fmt::join(ids.sizes(), ", "));
  if (ids.numel() > 0) {
    const int64_t lowest = ids.min().item<int64_t>(), highest = ids.max().item<int64_t>();
    if (lowest < 0 || highest >= config_.vocabulary)
      throw core::UsageError("the text encoder has rows for ids 0 to {}, got {}", config_.vocabulary - 1, lowest < 0 ? lowest : highest);
  }
  return tokens_->forward(ids);
}

at::Tensor TextEncoderImpl::encode(const at::Tensor& vectors) {
  if (vectors.dim() != 3 || vectors.size(1) > config_.positions || vectors.size(2) != config_.width)
    throw core::UsageError("the text encoder needs vectors [B, L, {}] with L up to {}, got [{}]", config_.width, config_.positions,
                           fmt::join(vectors.sizes(), ", "));
  at::Tensor x = vectors + positions_->weight.narrow(0, 0, vectors.size(1));
  for (const auto& layer : layers_) x = layer->forward(x);
  return final_norm_->forward(x);
}

at::Tensor TextEncoderImpl::forward(const at::Tensor& ids) { return encode(token_vectors(ids)); }

int64_t TextEncoderImpl::add_tokens(const at::Tensor& vectors) {
  const at::Tensor rows = vectors.dim() == 1 ? vectors.unsqueeze(0) : vectors;
  if (rows.dim() != 2 || rows.size(1) != config_.width)
    throw core::UsageError("a token's vector has {} values, got [{}]", config_.width, fmt::join(vectors.sizes(), ", "));
  const torch::NoGradGuard no_grad;
  // set_data keeps the parameter's identity in the modules that hold it.
  tokens_->weight.set_data(at::cat({tokens_->weight, rows.to(tokens_->weight.options())}));
  const int64_t first = config_.vocabulary;
  config_.vocabulary += rows.size(0);
  return first;
}

namespace {

/// transformers 5 leaves the prefix out of what it saves, unless it has read it from an older file.
io::NamedTensors with_prefix(io::NamedTensors weights) {
  constexpr std::string_view prefix = "text_model.";
  if (std::any_of(weights.begin(), weights.end(), [&](const auto& item) { return item.first.starts_with(prefix); })) return weights;
  io::NamedTensors named;
  for (auto& [name, tensor] : weights) named.emplace(std::string(prefix) + name, std::move(tensor));
  return named;
}

}  // namespace

TextEncoder load_text_encoder(const CheckpointFolder& checkpoint, c10::ScalarType dtype, LowRankSums lora) {
  const std::filesystem::path folder = checkpoint.component("text_encoder", "CLIPTextModel");
  TextEncoder encoder(read_text_encoder_config(folder / "config.json"));
  io::NamedTensors weights = with_prefix(checkpoint.weights("text_encoder", "model"));
  // 0, 1, 2, ...: files of older versions hold the counter, the original passes over it
  weights.erase("text_model.embeddings.position_ids");
  add_lora(weights, std::move(lora), dtype);
  nn::adopt_state(*encoder, std::move(weights), folder.string(), dtype);
  encoder->eval();
  return encoder;
}

}  // namespace syncdr::diffusion
