#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace syncdr::io {

/// XXH3, 64 bits: identity of an image's key in random streams, splits by hash. Part of the on-disk promise: never change it.
uint64_t hash64(std::string_view bytes);
/// XXH3, 128 bits, 32 hexadecimal digits.
std::string hash128(std::string_view bytes);
/// hash128 of what comes piece by piece.
class Hasher128 {
 public:
  Hasher128();
  void add(std::string_view bytes);
  std::string digest() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};
/// hash128 of a file's content, read in pieces. Throws DataError if it cannot be read.
std::string hash_file(const std::filesystem::path& path);
/// CRC-32C (Castagnoli), as in iSCSI and ext4.
uint32_t crc32c(std::span<const uint8_t> bytes);

}  // namespace syncdr::io
