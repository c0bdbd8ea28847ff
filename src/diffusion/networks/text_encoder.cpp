#include "syncdr/diffusion/text_encoder.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include <algorithm>

#include "clip_layer.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {

TextEncoderConfig read_text_encoder_config(const std::filesystem::path& file) {
  ConfigReader reader(file);
  TextEncoderConfig config;
  reader.only("model_type", "clip_text_model");
  read_common_fields(reader, config);
  config.vocabulary = reader.integer("vocab_size", config.vocabulary);
  config.positions = reader.integer("max_position_embeddings", config.positions);
  if (config.vocabulary < 1 || config.vocabulary > (int64_t{1} << 24)) reader.refuse("vocab_size", "must lie between 1 and 2^24");
  if (config.positions < 1 || config.positions > 65536) reader.refuse("max_position_embeddings", "must lie between 1 and 65536");
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
  for (int64_t i = 0; i < config.layers; ++i) layers_.push_back(std::make_shared<ClipLayer>(layer_of(config, /*causal=*/true)));
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

at::Tensor with_words(const at::Tensor& vectors, const at::Tensor& words, const std::vector<int64_t>& places) {
  if (vectors.dim() != 3 || words.dim() != 3 || words.size(0) != vectors.size(0) || words.size(1) < 1 || words.size(2) != vectors.size(2) ||
      std::ssize(places) != vectors.size(0))
    throw core::UsageError("words [B, n, D] for the places [B] of vectors [B, L, D] are needed, got [{}] for {} places of [{}]", fmt::join(words.sizes(), ", "),
                           places.size(), fmt::join(vectors.sizes(), ", "));
  const int64_t length = vectors.size(1), count = words.size(1);
  std::vector<at::Tensor> rows;
  for (int64_t b = 0; b < vectors.size(0); ++b) {
    const int64_t place = places[static_cast<size_t>(b)];
    if (place < 0 || place + count > length) throw core::UsageError("{} words from position {} of {}: there is no room for them", count, place, length);
    const at::Tensor row = vectors[b];
    rows.push_back(at::cat({row.narrow(0, 0, place), words[b], row.narrow(0, place + 1, length - place - count)}));
  }
  return at::stack(rows);
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
