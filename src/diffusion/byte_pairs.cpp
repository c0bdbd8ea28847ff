#include "byte_pairs.h"

#include <algorithm>
#include <limits>

#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"

namespace syncdr::diffusion {
namespace {

constexpr int64_t max_merges = 49152 - 256 - 2;  // the original reads no more: its vocabulary less the bytes and two special tokens
constexpr size_t max_remembered = 65536;
constexpr const char* white_space = " \t\r\n";

std::string_view next_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

std::string_view next_part(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(white_space), line.size()));
  const std::string_view part = line.substr(0, line.find_first_of(white_space));
  line.remove_prefix(part.size());
  return part;
}

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

int BytePairs::symbol(const std::string& text) {
  const auto [place, is_new] = symbols_.emplace(text, int(texts_.size()));
  if (is_new) texts_.push_back(text);
  return place->second;
}

void BytePairs::add_merge(std::string_view line, int64_t rank, const std::string& where) {
  const std::string left(next_part(line)), right(next_part(line));
  if (right.empty() || !next_part(line).empty()) throw core::DataError("{}: line {} is not \"LEFT RIGHT\"", where, rank + 2);
  const uint64_t key = key_of(symbol(left), symbol(right));
  merges_[key] = {rank, symbol(left + right)};  // the last one counts, as in the original
}

BytePairs::BytePairs(const std::filesystem::path& merges) {
  for (const std::string& letter : byte_letters()) {
    bytes_.push_back(symbol(letter));
    last_bytes_.push_back(symbol(letter + "</w>"));
  }
  const std::string content = io::read_file(merges, uint64_t{64} << 20);
  std::string_view rest = content;
  rest.remove_prefix(std::min(rest.find_first_not_of(white_space), rest.size()));
  rest = rest.substr(0, rest.find_last_not_of(white_space) + 1);
  next_line(rest);  // "#version: 0.2"
  for (int64_t rank = 0; rank < max_merges && !rest.empty(); ++rank) add_merge(next_line(rest), rank, merges.string());
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
