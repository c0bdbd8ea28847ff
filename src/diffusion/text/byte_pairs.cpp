#include "byte_pairs.h"

#include <algorithm>
#include <limits>

namespace syncdr::diffusion {
namespace {

constexpr size_t max_remembered = 65536;

}  // namespace

std::vector<std::string> byte_letters() {
  std::vector<std::string> letters;
  int hidden = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const int code = visible ? byte : 256 + hidden++;
    letters.push_back(code < 0x80 ? std::string(1, char(code)) : std::string{char(0xC0 | code >> 6), char(0x80 | (code & 0x3F))});
  }
  return letters;
}

std::vector<std::string> byte_vocabulary() {
  std::vector<std::string> tokens;
  for (const char* ending : {"", "</w>"})
    for (const std::string& letter : byte_letters()) tokens.push_back(letter + ending);
  tokens.insert(tokens.end(), {"<|startoftext|>", "<|endoftext|>"});
  return tokens;
}

std::string bytes_of(std::string_view letters) {
  static const std::vector<std::string> all = byte_letters();
  std::string bytes;
  while (!letters.empty()) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const std::string& letter) { return letters.starts_with(letter); });
    bytes += found == all.end() ? letters[0] : char(found - all.begin());
    letters.remove_prefix(found == all.end() ? 1 : found->size());
  }
  return bytes;
}

int BytePairs::symbol(const std::string& text) {
  const auto [place, is_new] = symbols_.emplace(text, int(texts_.size()));
  if (is_new) texts_.push_back(text);
  return place->second;
}

BytePairs::BytePairs(const Merges& merges) {
  for (const std::string& letter : byte_letters()) {
    bytes_.push_back(symbol(letter));
    last_bytes_.push_back(symbol(letter + "</w>"));
  }
  int64_t rank = 0;
  for (const auto& [left, right] : merges) {
    const uint64_t key = key_of(symbol(left), symbol(right));
    merges_[key] = {rank++, symbol(left + right)};  // the last one counts, as in the original
  }
}

void BytePairs::merge_all(std::vector<int>& word) const {
  constexpr Merge none{std::numeric_limits<int64_t>::max(), -1};
  while (word.size() > 1) {
    Merge best = none;
    int left = 0, right = 0;
    for (size_t i = 0; i + 1 < word.size(); ++i) {
      const auto found = merges_.find(key_of(word[i], word[i + 1]));
      if (found == merges_.end() || found->second.rank >= best.rank) continue;
      best = found->second;
      left = word[i];
      right = word[i + 1];
    }
    if (best.rank == none.rank) return;
    size_t kept = 0;
    for (size_t i = 0; i < word.size(); ++i) {
      const bool merged = word[i] == left && i + 1 < word.size() && word[i + 1] == right;
      word[kept++] = merged ? best.result : word[i];
      i += merged;
    }
    word.resize(kept);
  }
}

std::vector<std::string> BytePairs::split(const std::string& word) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = cache_.find(word); found != cache_.end()) return found->second;
  std::vector<int> symbols;
  for (size_t i = 0; i < word.size(); ++i) symbols.push_back((i + 1 < word.size() ? bytes_ : last_bytes_)[uint8_t(word[i])]);
  merge_all(symbols);
  std::vector<std::string> texts;
  for (const int one : symbols) texts.push_back(texts_[size_t(one)]);
  if (cache_.size() >= max_remembered) cache_.clear();
  return cache_.emplace(word, texts).first->second;
}

}  // namespace syncdr::diffusion
