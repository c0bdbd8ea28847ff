#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace syncdr::diffusion {

class BytePairs;

struct TokenizerFiles;
enum class WordRules;

/// CLIP's tokenizer (Radford et al., ICML 2021), with the ids of transformers: text is cleaned, lower-cased and split into words, words into bytes, and
/// bytes are merged to symbols of the vocabulary. Special and added tokens are cut out first and never split; where several fit, the leftmost and of those
/// the longest counts. Of a folder with vocab.json the rules are those of transformers 4's CLIPTokenizer where ftfy is not installed; of one with
/// tokenizer.json alone, or saved by transformers 5, they are those of the library tokenizers, which differ in characters that are not Latin
/// (clip_words.h) and seek added tokens in cleaned text.
class Tokenizer {
 public:
  /// folder: vocab.json and merges.txt, or tokenizer.json; tokenizer_config.json, special_tokens_map.json and added_tokens.json where they are there.
  /// Throws DataError naming file and field: a file is missing or broken, ids that are not 0 to N-1, an option or a kind of rules that would change ids
  /// and is not supported.
  /// by_library: tokenizer.json counts even where vocab.json is there, as for transformers' CLIPTokenizerFast.
  explicit Tokenizer(const std::filesystem::path& folder, bool by_library = false);
  /// What save_byte_tokenizer (checkpoint_writer.h) writes, without files.
  static Tokenizer of_bytes(int64_t length);

  /// The ids of the text alone: neither start nor end, neither cut nor padded. Throws DataError if it has more than 64 KiB.
  std::vector<int64_t> ids(const std::string& text) const;
  /// The text encoder's input, [texts, length()] int64: start, at most length() - 2 ids, end, padding. An added token T stands for all of T, T_1, T_2, ...
  /// that are there, the vectors of one pseudo-word (textual inversion, Gal et al., ICLR 2023; diffusers' maybe_convert_prompt).
  at::Tensor encode(const std::vector<std::string>& texts) const;
  /// The ids of a text within encode()'s frame, not cut: as ids(), with all vectors of pseudo-words.
  std::vector<int64_t> prompt_ids(const std::string& text) const;
  /// The end of a text that encode() has no room for, as its tokens spell it; empty: there is room for all. room: for that many ids, where there is less.
  std::string cut_from(const std::string& text) const { return cut_from(text, length_ - 2); }
  std::string cut_from(const std::string& text, int64_t room) const;

  /// A token of its own for a pseudo-word ("<emoji-style>"); returns its id, the first free one, for which the text encoder needs a row.
  /// Throws UsageError if it is empty, already a token, or sought in cleaned text and the same as another one there.
  int64_t add_token(const std::string& token);

  /// Whether this is a token as it stands: of the vocabulary ("ink</w>" at a word's end), or added.
  bool knows(const std::string& token) const { return ids_.contains(token); }
  /// A token of an id from 0 to size() - 1, as the vocabulary spells it.
  const std::string& token(int64_t id) const { return tokens_.at(static_cast<size_t>(id)); }

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }  ///< of vocabulary and added tokens
  int64_t length() const { return length_; }                          ///< of encoded texts (77)
  int64_t start() const { return start_; }
  int64_t end() const { return end_; }
  int64_t pad() const { return pad_; }  ///< the end token in Stable Diffusion 1, "!" in 2

 private:
  Tokenizer(TokenizerFiles files, const std::string& where);
  bool seek(const std::string& token, bool normalized);
  bool is_added(const std::string& token) const;
  void append_words(std::vector<int64_t>& ids, std::string_view cleaned) const;
  std::string spelled(std::span<const int64_t> ids) const;

  WordRules rules_{};
  std::unordered_map<std::string, int64_t> ids_;               // vocabulary and added tokens
  std::vector<std::string> tokens_;                            // by id
  std::unordered_set<int64_t> added_;                          // special and added tokens
  std::vector<std::pair<std::string, int64_t>> sought_raw_;    // the added ones that are cut out of the raw text; the longest first
  std::vector<std::pair<std::string, int64_t>> sought_clean_;  // and out of cleaned text
  std::shared_ptr<const BytePairs> pairs_;
  int64_t length_ = 0, start_ = 0, end_ = 0, pad_ = 0, unknown_ = 0;
};

}  // namespace syncdr::diffusion
