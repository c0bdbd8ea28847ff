#pragma once
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace syncdr::diffusion {

/// Each byte's letter: its own code point where that is visible, else the next free one from 256 on. All lie below U+0800: two bytes of UTF-8.
std::vector<std::string> byte_letters();
/// CLIP's vocabulary without merges, by id: the letters, the letters at a word's end, start and end of a text.
std::vector<std::string> byte_vocabulary();
/// The bytes that letters stand for.
std::string bytes_of(std::string_view letters);

/// Left and right symbol of each merge, the most frequent first.
using Merges = std::vector<std::pair<std::string, std::string>>;

/// Byte-pair encoding over bytes (Sennrich et al., ACL 2016; the alphabet of GPT-2), CLIP's variant: a word's last symbol ends in "</w>".
class BytePairs {
 public:
  explicit BytePairs(const Merges& merges);

  /// The word's symbols as the vocabulary spells them ("cat</w>"). Words are remembered. Safe to call from several threads.
  std::vector<std::string> split(const std::string& word) const;

 private:
  struct Merge {
    int64_t rank;
    int result;
  };
  static uint64_t key_of(int left, int right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }
  int symbol(const std::string& text);
  void merge_all(std::vector<int>& word) const;

  std::vector<std::string> texts_;                // of each symbol
  std::unordered_map<std::string, int> symbols_;  // the symbol of each text
  std::unordered_map<uint64_t, Merge> merges_;
  std::vector<int> bytes_, last_bytes_;  // the symbol of each byte, within a word and at its end
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::vector<std::string>> cache_;
};

}  // namespace syncdr::diffusion
