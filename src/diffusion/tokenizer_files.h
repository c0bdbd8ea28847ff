#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace syncdr::diffusion {

/// What a CLIP tokenizer's folder says besides its merges.
struct TokenizerFiles {
  std::unordered_map<std::string, int64_t> vocabulary;  ///< ids 0 to N-1
  std::string start = "<|startoftext|>", end = "<|endoftext|>", unknown = "<|endoftext|>", pad = "<|endoftext|>";
  std::vector<std::string> others;                     ///< special tokens without a part of their own
  std::vector<std::pair<std::string, int64_t>> added;  ///< tokens with ids that the files give
  int64_t length = 77;
};

/// Throws DataError naming file and field.
TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder);

}  // namespace syncdr::diffusion
