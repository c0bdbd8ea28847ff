#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace syncdr::diffusion {

class BytePairs;

/// CLIP's tokenizer (Radford et al., ICML 2021), with the ids of transformers' CLIPTokenizer where ftfy is not installed: text is cleaned,
/// lower-cased and split into words, words into bytes, and bytes are merged to symbols of the vocabulary. Special and added tokens are cut
/// out of the raw text first and never split; where several fit, the leftmost and of those the longest counts.
class Tokenizer {
 public:
  /// folder: vocab.json and merges.txt; tokenizer_config.json, special_tokens_map.json, added_tokens.json and tokenizer.json where they are
  /// there. Throws DataError naming file and field: a file is missing or broken, ids that are not 0 to N-1, an option that would change ids
  /// and is not supported.
  explicit Tokenizer(const std::filesystem::path& folder);

  /// The ids of the text alone: neither start nor end, neither cut nor padded. Throws UsageError if it has more than 64 KiB.
  std::vector<int64_t> ids(const std::string& text) const;
  /// The text encoder's input, [texts, length()] int64: start, at most length() - 2 ids, end, padding.
  at::Tensor encode(const std::vector<std::string>& texts) const;

  /// A token of its own for a pseudo-word ("<emoji-style>"); returns its id, the first free one, for which the text encoder needs a row.
  /// Throws UsageError if it is empty or already a token.
  int64_t add_token(const std::string& token);
  /// The id of a token as the vocabulary spells it ("cat</w>"). Throws UsageError if there is none.
  int64_t id_of(const std::string& token) const;

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }  ///< of vocabulary and added tokens
  int64_t length() const { return length_; }                          ///< of encoded texts (77)
  int64_t start() const { return start_; }
  int64_t end() const { return end_; }
  int64_t pad() const { return pad_; }  ///< the end token in Stable Diffusion 1, "!" in 2

 private:
  std::string_view added_at(std::string_view text) const;
  void append_words(std::vector<int64_t>& ids, std::string_view text) const;

  std::unordered_map<std::string, int64_t> ids_;  // vocabulary and added tokens
  std::vector<std::string> added_;                // cut out of the raw text; the longest first
  std::shared_ptr<const BytePairs> pairs_;
  int64_t length_ = 0, start_ = 0, end_ = 0, pad_ = 0, unknown_ = 0;
};

}  // namespace syncdr::diffusion
