#include <array>
#include <boost/crc.hpp>
#include <cstring>
#include <vector>

#include "fuzz.h"
#include "syncdr/data/pictures.h"

using namespace syncdr;
using data::PictureFormat;

namespace {

constexpr PictureFormat fuzzed = PictureFormat::SYNCDR_FUZZED_FORMAT;  // others are passed over
// What a mutation gains in size beyond this is time to clear memory.
constexpr int64_t most_pixels = int64_t{1} << 20;

/// Gives each chunk of a PNG its checksum, which a mutation breaks: no decoder would go on.
void mend_checksums(std::vector<uint8_t>& bytes) {
  for (size_t at = 8; at + 12 <= bytes.size();) {
    const size_t length = size_t{bytes[at]} << 24 | size_t{bytes[at + 1]} << 16 | size_t{bytes[at + 2]} << 8 | bytes[at + 3];
    if (length > bytes.size() - at - 12) return;
    boost::crc_32_type crc;
    crc.process_bytes(bytes.data() + at + 4, length + 4);
    for (size_t i = 0; i < 4; ++i) bytes[at + 8 + length + i] = static_cast<uint8_t>(crc.checksum() >> (24 - 8 * i));
    at += 12 + length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  if (fuzzed == PictureFormat::png) mend_checksums(bytes);
  bool is_fuzzed = false;
  fuzz::accepts([&] { is_fuzzed = data::format_of(bytes) == fuzzed; });
  if (!is_fuzzed) return -1;
  fuzz::accepts([&] {
    const data::Image image = data::upright_picture(bytes, /*at_least=*/0, most_pixels);
    fuzz::require(std::cmp_equal(image.pixels.size(), image.height * image.width * 3) && image.height * image.width <= most_pixels, "wrong size\n");
    if (fuzzed != PictureFormat::jpeg && fuzzed != PictureFormat::png) return;
    const data::Codec codec = data::detect_codec(bytes);
    const data::ImageSize stated = data::peek_size(bytes, codec);
    fuzz::require(stated.height * stated.width == image.height * image.width, "the header states another size\n");
    data::decode(bytes, codec, {}, /*at_least=*/8);
  });
  return 0;
}
