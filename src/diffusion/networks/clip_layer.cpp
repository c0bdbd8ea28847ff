#include "clip_layer.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>

namespace syncdr::diffusion {

ClipLayer::ClipLayer(const ClipLayerConfig& config) : config_(config) {
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

at::Tensor ClipLayer::forward(const at::Tensor& input) {
  const at::Tensor x = input + attend(norm1_->forward(input));
  const at::Tensor inner = first_->forward(norm2_->forward(x));
  return x + second_->forward(config_.quick_gelu ? inner * at::sigmoid(1.702 * inner) : at::gelu(inner));
}

at::Tensor ClipLayer::attend(const at::Tensor& input) {
  const auto heads = [&](const at::Tensor& rows) { return rows.unflatten(-1, {config_.heads, -1}).transpose(1, 2); };  // [B, heads, L, D / heads]
  const at::Tensor mixed = at::scaled_dot_product_attention(heads(query_->forward(input)), heads(key_->forward(input)), heads(value_->forward(input)),
                                                            /*attn_mask=*/{}, is_training() ? config_.attention_dropout : 0.0, config_.causal);
  return out_->forward(mixed.transpose(1, 2).flatten(2));
}

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

}  // namespace syncdr::diffusion
