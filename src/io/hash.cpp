#include "syncdr/io/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <memory>
#include <new>
#include <vector>

#include "syncdr/io/file.h"

namespace syncdr::io {
namespace {

std::string hexadecimal(XXH128_hash_t hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

}  // namespace

uint64_t hash64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string hash128(std::string_view bytes) { return hexadecimal(XXH3_128bits(bytes.data(), bytes.size())); }

std::string hash_file(const std::filesystem::path& path) {
  const InputFile file(path);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  if (!state || XXH3_128bits_reset(state.get()) == XXH_ERROR) throw std::bad_alloc();
  std::vector<uint8_t> part(std::min<uint64_t>(file.size(), uint64_t{1} << 22));
  for (uint64_t offset = 0; offset < file.size(); offset += part.size()) {
    part.resize(std::min<uint64_t>(part.size(), file.size() - offset));
    file.read_at(offset, part);
    XXH3_128bits_update(state.get(), part.data(), part.size());
  }
  return hexadecimal(XXH3_128bits_digest(state.get()));
}

uint32_t crc32c(std::span<const uint8_t> bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

}  // namespace syncdr::io
