#include "syncdr/diffusion/tokenizer.h"

#include <ATen/ops/full.h>

#include <algorithm>
#include <set>

#include "byte_pairs.h"
#include "clip_words.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/checkpoint.h"
#include "tokenizer_files.h"

namespace syncdr::diffusion {
namespace {

constexpr size_t max_text = 65536;
constexpr const char* reads_the_same = "is in lower case the same as another added token, and the original takes either of them by chance";

using TokenIds = std::vector<std::pair<std::string, int64_t>>;

/// The longest first, so that the first that fits is the one. False: the text is there already.
bool insert_by_length(TokenIds& tokens, const std::string& text, int64_t id) {
  if (std::any_of(tokens.begin(), tokens.end(), [&](const auto& other) { return other.first == text; })) return false;
  tokens.emplace(std::find_if(tokens.begin(), tokens.end(), [&](const auto& other) { return other.first.size() < text.size(); }), text, id);
  return true;
}

/// The ids of the tokens that text holds; what lies between them goes to `between`.
template <class Between> void cut_out(const TokenIds& tokens, std::string_view text, std::vector<int64_t>& ids, const Between& between) {
  size_t plain = 0;  // bytes before the next token
  while (plain < text.size()) {
    const auto found = std::find_if(tokens.begin(), tokens.end(), [&](const auto& token) { return text.substr(plain).starts_with(token.first); });
    if (found == tokens.end()) {
      ++plain;
      continue;
    }
    between(text.substr(0, plain));
    ids.push_back(found->second);
    text.remove_prefix(plain + found->first.size());
    plain = 0;
  }
  between(text);
}

}  // namespace

Tokenizer::Tokenizer(const std::filesystem::path& folder, bool by_library) : Tokenizer(read_tokenizer_files(folder, by_library), folder.string()) {}

Tokenizer Tokenizer::of_bytes(int64_t length) {
  TokenizerFiles files{.length = length};
  for (const std::string& token : byte_vocabulary()) files.vocabulary.emplace(token, std::ssize(files.vocabulary));
  return {std::move(files), "the tokenizer of bytes"};
}

Tokenizer::Tokenizer(TokenizerFiles files, const std::string& where) {
  rules_ = files.rules;
  ids_ = std::move(files.vocabulary);
  length_ = files.length;
  std::vector<AddedToken> added = std::move(files.added);
  added.insert(added.end(), {files.start, files.end, files.unknown, files.pad});
  added.insert(added.end(), files.others.begin(), files.others.end());
  for (const AddedToken& token : added) {
    ids_.emplace(token.text, size());  // if it has no id yet
    if (!seek(token.text, token.normalized)) throw core::DataError("{}: the added token \"{}\" {}. Remove one of them", where, token.text, reads_the_same);
  }
  tokens_.resize(static_cast<size_t>(size()));
  for (const auto& [token, id] : ids_) {
    if (id >= size() || !tokens_[static_cast<size_t>(id)].empty())
      throw core::DataError("{}: \"{}\" has id {}; the ids of vocabulary and added tokens are not 0 to {}, each once", where, token, id, size() - 1);
    tokens_[static_cast<size_t>(id)] = token;
  }
  start_ = ids_.at(files.start.text);
  end_ = ids_.at(files.end.text);
  pad_ = ids_.at(files.pad.text);
  unknown_ = ids_.at(files.unknown.text);
  pairs_ = std::make_shared<const BytePairs>(files.merges);
}

Tokenizer load_tokenizer(const CheckpointFolder& checkpoint) {
  const char* const fast = "CLIPTokenizerFast";
  const bool is_fast = checkpoint.class_of("tokenizer") == fast;
  return Tokenizer(checkpoint.component("tokenizer", is_fast ? fast : "CLIPTokenizer"), is_fast);
}

/// From now on the token is cut out of texts. False: in cleaned text it cannot be told from another one.
bool Tokenizer::seek(const std::string& token, bool normalized) {
  const int64_t id = ids_.at(token);
  if (!added_.insert(id).second) return true;
  return normalized && rules_ != WordRules::python ? insert_by_length(sought_clean_, clean_text(token, rules_), id) : insert_by_length(sought_raw_, token, id);
}

int64_t Tokenizer::add_token(const std::string& token) {
  if (token.empty()) throw core::UsageError("a token to add is empty");
  if (!ids_.emplace(token, size()).second) throw core::UsageError("\"{}\" is a token already; choose another word for the new one", token);
  const int64_t id = ids_.at(token);
  tokens_.push_back(token);
  if (seek(token, /*normalized=*/true)) return id;
  tokens_.pop_back();
  ids_.erase(token);
  added_.erase(id);
  throw core::UsageError("\"{}\" {}; choose another word for the new one", token, reads_the_same);
}

void Tokenizer::append_words(std::vector<int64_t>& ids, std::string_view cleaned) const {
  const auto id = [&](const std::string& symbol) {
    const auto found = ids_.find(symbol);
    return found == ids_.end() ? unknown_ : found->second;
  };
  for (const std::string& word : split_words(cleaned, rules_)) {
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
    throw core::DataError("a text of {} bytes is longer than any prompt; at most {} are read: shorten it. It begins with \"{}\"", text.size(), max_text,
                          whole_characters(text.substr(0, 60)));
  std::vector<int64_t> ids;
  cut_out(sought_raw_, text, ids,
          [&](std::string_view raw) { cut_out(sought_clean_, clean_text(raw, rules_), ids, [&](std::string_view cleaned) { append_words(ids, cleaned); }); });
  return ids;
}

/// Text against text, as the original does it: an upper-case "SKS" that stands for the token "sks" stays alone.
std::vector<int64_t> Tokenizer::prompt_ids(const std::string& text) const {
  const std::vector<int64_t> plain = ids(text);
  std::string written = text;
  for (const int64_t id : std::set<int64_t>(plain.begin(), plain.end())) {
    if (!added_.contains(id)) continue;
    const std::string& token = tokens_[static_cast<size_t>(id)];
    // What the library has found in cleaned text the original looks up as cleaned: with capitals a word keeps its first vector alone.
    const bool cleaned = std::any_of(sought_clean_.begin(), sought_clean_.end(), [&](const auto& sought) { return sought.second == id; });
    if (cleaned && clean_text(token, rules_) != token) continue;
    std::string vectors = token;
    for (int64_t vector = 1; is_added(fmt::format("{}_{}", token, vector)); ++vector) vectors += fmt::format(" {}_{}", token, vector);
    if (vectors == token) continue;
    // A word that others hold could make a text of any length: ids() refuses one that is too long.
    for (size_t at = 0; written.size() <= max_text && (at = written.find(token, at)) != std::string::npos; at += vectors.size())
      written.replace(at, token.size(), vectors);
  }
  return written == text ? plain : ids(written);
}

bool Tokenizer::is_added(const std::string& token) const {
  const auto found = ids_.find(token);
  return found != ids_.end() && added_.contains(found->second);
}

/// The text that ids stand for, as far as they tell: lower case, a space behind each word.
std::string Tokenizer::spelled(std::span<const int64_t> ids) const {
  constexpr std::string_view word_end = "</w>";
  std::string text;
  for (const int64_t id : ids) {
    std::string_view token = tokens_[static_cast<size_t>(id)];
    const bool whole = added_.contains(id), ends = whole || token.ends_with(word_end);
    if (ends && !whole) token.remove_suffix(word_end.size());
    text += whole ? std::string(token) : bytes_of(token);
    if (ends) text += ' ';
  }
  if (text.ends_with(' ')) text.pop_back();
  return whole_characters(text);
}

std::string Tokenizer::cut_from(const std::string& text, int64_t room) const {
  const std::vector<int64_t> all = prompt_ids(text);
  return spelled(std::span(all).subspan(std::min(all.size(), static_cast<size_t>(room))));
}

at::Tensor Tokenizer::encode(const std::vector<std::string>& texts) const {
  const at::Tensor encoded = at::full({int64_t(texts.size()), length_}, pad_, at::kLong);
  int64_t* row = encoded.mutable_data_ptr<int64_t>();
  for (const std::string& text : texts) {
    std::vector<int64_t> tokens = prompt_ids(text);
    if (int64_t(tokens.size()) > length_ - 2) tokens.resize(size_t(length_ - 2));
    row[0] = start_;
    std::copy(tokens.begin(), tokens.end(), row + 1);
    row[tokens.size() + 1] = end_;
    row += length_;
  }
  return encoded;
}

}  // namespace syncdr::diffusion
