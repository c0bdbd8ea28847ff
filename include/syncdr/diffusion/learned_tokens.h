#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/tokenizer.h"

/// Pseudo-words that were learned for a text encoder (textual inversion, Gal et al., ICLR 2023), and their files.
namespace syncdr::diffusion {

/// A pseudo-word T. It has n vectors, which stand in texts as T, T_1, T_2, ...: Tokenizer::encode writes T so.
struct LearnedToken {
  std::string name;
  at::Tensor vectors;  ///< [n, D] float32 on the CPU
};

/// Reads a safetensors file of tokens, in the order of their names: each tensor [D] or [n, D] is named as its token, as diffusers' training scripts write
/// one. "emb_params" (AUTOMATIC1111's files) is no name: that token has the name of the file, without .safetensors.
/// Throws DataError naming file and token: no safetensors file (a pickle: how to convert it), no tensor, another shape or kind of numbers, values that are
/// not finite, an empty name, a token of Stable Diffusion XL's two text encoders.
std::vector<LearnedToken> read_learned_tokens(const std::filesystem::path& file);

/// Writes a file of one token, which diffusers' load_textual_inversion reads, too.
void write_learned_token(const std::filesystem::path& file, const LearnedToken& token);

/// Adds T, T_1, T_2, ... of so many vectors to a tokenizer. Returns the id of T; the others' follow it. Throws UsageError, as Tokenizer::add_token, also where
/// T alone is added and T_1 is a token already.
int64_t add_vectors(Tokenizer& tokenizer, const std::string& token, int64_t vectors);

/// Adds the tokens of files, in their order: names to the tokenizer, vectors in the encoder's dtype to its table. Throws DataError naming file and token: as
/// read_learned_tokens; a token that is one already, or was learned for a text encoder of another width.
void add_learned_tokens(Tokenizer& tokenizer, TextEncoder& text_encoder, const std::vector<std::filesystem::path>& files);

/// Throws what adding would be refused for, without reading the checkpoint's networks.
void check_learned_tokens(const CheckpointFolder& checkpoint, const std::vector<std::filesystem::path>& files);

}  // namespace syncdr::diffusion
