#include "syncdr/io/hash.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"

using namespace syncdr;

namespace {

std::span<const uint8_t> bytes(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

// The values are promises on disk: random streams and splits of existing datasets depend on them. (From Python's xxhash 3 and RFC 3720, B.4.)
TEST(Hash, KeepsItsPublishedValues) {
  EXPECT_EQ(io::hash64(""), 0x2d06800538d394c2ULL);
  EXPECT_EQ(io::hash128(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(io::crc32c(bytes("123456789")), 0xE3069283u);
  EXPECT_EQ(io::crc32c(std::vector<uint8_t>(32, 0)), 0x8A9136AAu);
  EXPECT_EQ(io::crc32c(std::vector<uint8_t>(32, 0xFF)), 0x62A8AB43u);
  EXPECT_EQ(io::crc32c(bytes("The quick brown fox jumps over the lazy dog")), 0x22620404u);
}

TEST(Hash, OfPiecesEqualsThatOfTheWhole) {
  const std::string content(1000, 'x');
  for (const size_t length : {size_t{1}, size_t{7}, size_t{1000}}) {
    io::Hasher128 hash;
    for (size_t at = 0; at < content.size(); at += length) hash.add(std::string_view(content).substr(at, length));
    EXPECT_EQ(hash.digest(), io::hash128(content)) << length;
  }
}

TEST(Hash, OfAFileEqualsThatOfItsContentAcrossPieces) {
  const TemporaryFolder folder;
  std::string content;
  for (size_t size : {size_t{0}, size_t{1}, size_t{1} << 22, (size_t{1} << 22) + 1, (size_t{1} << 23) + 77}) {
    content.resize(size, static_cast<char>(size % 251));
    io::write_file(folder / "file", content);
    EXPECT_EQ(io::hash_file(folder / "file"), io::hash128(content)) << size;
  }
  EXPECT_THROW(io::hash_file(folder / "missing"), core::DataError);
}

}  // namespace
