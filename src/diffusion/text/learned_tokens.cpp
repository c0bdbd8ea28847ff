#include "syncdr/diffusion/learned_tokens.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>

#include "syncdr/core/error.h"
#include "syncdr/io/safetensors.h"

namespace syncdr::diffusion {
namespace fs = std::filesystem;
namespace {

constexpr const char* nameless = "emb_params";

std::string place_of(const fs::path& file, const std::string& token) { return fmt::format("{}: token \"{}\"", file.string(), token); }

LearnedToken to_token(const fs::path& file, const std::string& name, const at::Tensor& tensor) {
  const std::string where = place_of(file, name);
  if (name.empty()) throw core::DataError("{}: a token has no name. Write the tensor under the word that is to stand for it", file.string());
  if (!tensor.is_floating_point()) throw core::DataError("{}: holds {}, where a token has floating-point numbers", where, c10::toString(tensor.scalar_type()));
  if (tensor.dim() < 1 || tensor.dim() > 2 || tensor.numel() == 0)
    throw core::DataError("{}: has shape [{}], a token has [D] or [n, D]. Is this a file of learned tokens?", where, fmt::join(tensor.sizes(), ", "));
  const at::Tensor vectors = tensor.to(at::kFloat).view({-1, tensor.size(-1)});
  if (!at::isfinite(vectors).all().item<bool>())
    throw core::DataError("{}: holds values that are not finite numbers. Train it again, or get another file", where);
  return {.name = name, .vectors = vectors};
}

/// Adds the names of the files' tokens, whose vectors go to a text encoder of this width. Returns the vectors, one below the other, [n, D].
std::vector<at::Tensor> add_names_of(const std::vector<fs::path>& files, Tokenizer& tokenizer, int64_t width) {
  std::vector<at::Tensor> vectors;
  for (const fs::path& file : files)
    for (const LearnedToken& token : read_learned_tokens(file)) {
      const std::string where = place_of(file, token.name);
      if (token.vectors.size(1) != width)
        throw core::DataError("{}: its vectors have {} values, the checkpoint's text encoder reads {}: it was learned for another model", where,
                              token.vectors.size(1), width);
      try {
        add_vectors(tokenizer, token.name, token.vectors.size(0));
      } catch (const core::UsageError& error) {
        throw core::DataError("{}: {}, and name the tensor in the file so", where, error.what());
      }
      vectors.push_back(token.vectors);
    }
  return vectors;
}

}  // namespace

std::vector<LearnedToken> read_learned_tokens(const fs::path& file) {
  const io::Safetensors content = io::read_safetensors(file);
  if (content.tensors.empty()) throw core::DataError("{}: holds no token", file.string());
  if (content.tensors.contains("clip_l") && content.tensors.contains("clip_g"))
    throw core::DataError("{}: is a token of Stable Diffusion XL's two text encoders, which are not supported", file.string());
  std::vector<LearnedToken> tokens;
  for (const auto& [name, tensor] : content.tensors) tokens.push_back(to_token(file, name == nameless ? file.stem().string() : name, tensor));
  return tokens;
}

void write_learned_token(const fs::path& file, const LearnedToken& token) { io::write_safetensors(file, {{token.name, token.vectors}}, {{"format", "pt"}}); }

int64_t add_vectors(Tokenizer& tokenizer, const std::string& token, int64_t vectors) {
  const std::string second = token + "_1";
  if (tokenizer.knows(second))
    throw core::UsageError("\"{}\" would stand for \"{}\", too, which is a token already; choose another word for the new one", token, second);
  const int64_t first = tokenizer.add_token(token);
  for (int64_t i = 1; i < vectors; ++i) tokenizer.add_token(fmt::format("{}_{}", token, i));
  return first;
}

void add_learned_tokens(Tokenizer& tokenizer, TextEncoder& text_encoder, const std::vector<fs::path>& files) {
  const int64_t first = tokenizer.size(), rows = text_encoder->config().vocabulary;
  const std::vector<at::Tensor> vectors = add_names_of(files, tokenizer, text_encoder->config().width);
  if (vectors.empty()) return;
  const at::Tensor all = at::cat(vectors);
  // A table may have rows behind those of the tokenizer (a padded one): the first of them are the new tokens'.
  const int64_t there = std::min(rows - first, all.size(0));
  SYNCDR_ASSERT(there >= 0, "a tokenizer of {} tokens, a text encoder of {}", first, rows);
  const torch::NoGradGuard no_grad;
  text_encoder->token_table().narrow(0, first, there).copy_(all.narrow(0, 0, there));
  if (there < all.size(0)) text_encoder->add_tokens(all.narrow(0, there, all.size(0) - there));
}

void check_learned_tokens(const CheckpointFolder& checkpoint, const std::vector<fs::path>& files) {
  if (files.empty()) return;
  Tokenizer tokenizer = load_tokenizer(checkpoint);
  add_names_of(files, tokenizer, read_text_encoder_config(checkpoint.component("text_encoder", "CLIPTextModel") / "config.json").width);
}

}  // namespace syncdr::diffusion
