#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "byte_pairs.h"
#include "clip_words.h"

namespace syncdr::diffusion {

struct AddedToken {
  std::string text;
  bool normalized = false;  ///< by the rules of the library: cleaned itself, and sought in cleaned text
  int64_t id = -1;          ///< -1: the files give none
};

/// What a CLIP tokenizer's folder says.
struct TokenizerFiles {
  WordRules rules = WordRules::python;
  std::unordered_map<std::string, int64_t> vocabulary;  ///< with the added tokens that have ids
  Merges merges;
  AddedToken start{"<|startoftext|>"}, end{"<|endoftext|>"}, unknown{"<|endoftext|>"}, pad{"<|endoftext|>"};
  std::vector<AddedToken> others;  ///< special tokens without a part of their own
  std::vector<AddedToken> added;   ///< with ids; of two with the same text the first counts
  int64_t length = 77;
};

/// tokenizer.json counts where the folder has no vocab.json, and where tokenizer_config.json says that the library wrote it ("backend", transformers 5),
/// or where the caller wants it (by_library); otherwise vocab.json and merges.txt with the rules of python. Throws DataError naming file and field.
TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder, bool by_library = false);

/// Its parts. A vocabulary's ids are 0 to N-1, each once.
std::unordered_map<std::string, int64_t> read_vocabulary(const boost::json::object& ids, const std::string& where);
/// "added_tokens" of tokenizer.json.
void read_added_tokens(const boost::json::object& tokenizer, const std::string& where, TokenizerFiles& files);
/// tokenizer.json: vocabulary, merges, added tokens and rules. Its kinds of normaliser, pre-tokenizer, model and post-processor must be CLIP's.
void read_tokenizer_json(const std::filesystem::path& file, TokenizerFiles& files);

}  // namespace syncdr::diffusion
