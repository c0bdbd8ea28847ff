#include "syncdr/diffusion/tokenizer.h"

#include <ATen/ops/full.h>

#include <algorithm>

#include "byte_pairs.h"
#include "clip_words.h"
#include "syncdr/core/error.h"
#include "tokenizer_files.h"

namespace syncdr::diffusion {
namespace {

constexpr size_t max_text = 65536;

/// The longest first, so that the first that fits is the one.
void insert_by_length(std::vector<std::string>& tokens, const std::string& token) {
  if (std::find(tokens.begin(), tokens.end(), token) != tokens.end()) return;
  tokens.insert(std::find_if(tokens.begin(), tokens.end(), [&](const std::string& other) { return other.size() < token.size(); }), token);
}

}  // namespace

Tokenizer::Tokenizer(const std::filesystem::path& folder) {
  TokenizerFiles files = read_tokenizer_files(folder);
  ids_ = std::move(files.vocabulary);
  length_ = files.length;
  for (const auto& [token, id] : files.added) {
    ids_.emplace(token, id);
    insert_by_length(added_, token);
  }
  std::vector<std::string> special{files.start, files.end, files.unknown, files.pad};
  special.insert(special.end(), files.others.begin(), files.others.end());
  for (const std::string& token : special) {
    ids_.emplace(token, size());  // if it has no id yet
    insert_by_length(added_, token);
  }
  if (std::any_of(ids_.begin(), ids_.end(), [&](const auto& item) { return item.second >= size(); }))
    throw core::DataError("{}: the ids of vocabulary and added tokens are not 0 to {}", folder.string(), size() - 1);
  start_ = ids_.at(files.start);
  end_ = ids_.at(files.end);
  pad_ = ids_.at(files.pad);
  unknown_ = ids_.at(files.unknown);
  pairs_ = std::make_shared<const BytePairs>(folder / "merges.txt");
}

int64_t Tokenizer::add_token(const std::string& token) {
  if (token.empty()) throw core::UsageError("a token to add is empty");
  if (!ids_.emplace(token, size()).second) throw core::UsageError("\"{}\" is a token already; choose another word for the new one", token);
  insert_by_length(added_, token);
  return ids_.at(token);
}

int64_t Tokenizer::id_of(const std::string& token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) throw core::UsageError("there is no token \"{}\"", token);
  return found->second;
}

/// The added token that text begins with; empty if none.
std::string_view Tokenizer::added_at(std::string_view text) const {
  for (const std::string& token : added_) {
    if (text.starts_with(token)) return token;
  }
  return {};
}

void Tokenizer::append_words(std::vector<int64_t>& ids, std::string_view text) const {
  const auto id = [&](const std::string& symbol) {
    const auto found = ids_.find(symbol);
    return found == ids_.end() ? unknown_ : found->second;
  };
  for (const std::string& word : split_words(clean_text(text))) {
    // They get here where they were written in upper case; the original keeps them whole whatever the special tokens are.
    if (word == "<|startoftext|>" || word == "<|endoftext|>") {
      ids.push_back(id(word));
      continue;
    }
    for (const std::string& symbol : pairs_->split(word)) ids.push_back(id(symbol));
  }
}

std::vector<int64_t> Tokenizer::ids(const std::string& text) const {
  if (text.size() > max_text)
    throw core::UsageError("a text of {} bytes is longer than any prompt; at most {} are read", text.size(), max_text);
  std::vector<int64_t> ids;
  std::string_view rest = text;
  size_t plain = 0;  // bytes before the next added token
  while (plain < rest.size()) {
    const std::string_view token = added_at(rest.substr(plain));
    if (token.empty()) {
      ++plain;
      continue;
    }
    append_words(ids, rest.substr(0, plain));
    ids.push_back(ids_.at(std::string(token)));
    rest.remove_prefix(plain + token.size());
    plain = 0;
  }
  append_words(ids, rest);
  return ids;
}

at::Tensor Tokenizer::encode(const std::vector<std::string>& texts) const {
  const at::Tensor encoded = at::full({int64_t(texts.size()), length_}, pad_, at::kLong);
  int64_t* row = encoded.mutable_data_ptr<int64_t>();
  for (const std::string& text : texts) {
    std::vector<int64_t> tokens = ids(text);
    if (int64_t(tokens.size()) > length_ - 2) tokens.resize(size_t(length_ - 2));
    row[0] = start_;
    std::copy(tokens.begin(), tokens.end(), row + 1);
    row[tokens.size() + 1] = end_;
    row += length_;
  }
  return encoded;
}

}  // namespace syncdr::diffusion
