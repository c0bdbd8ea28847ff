#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

/// Encoded images and pixels. Broken input throws DataError saying what is wrong; the caller adds file, row and key.
namespace syncdr::data {

enum class Codec { raw, png, jpeg };
Codec codec_from_name(const std::string& name);  ///< "raw", "png", "jpeg"; throws DataError
const char* codec_name(Codec codec);

/// 8-bit RGB, rows from top to bottom: [H, W, 3].
struct Image {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> pixels;
  std::vector<uint8_t> alpha;  ///< [H, W] of a decoded PNG with transparency, 0: nothing is there; else empty. encode() passes over it
};

struct ImageSize {
  int64_t height = 0, width = 0;
};

/// Images of more pixels are refused before anything is allocated: a 900 KB PNG can claim gigabytes.
inline constexpr int64_t max_image_pixels = int64_t{1} << 28;

/// Which codec the bytes' signature says, png or jpeg. Throws DataError on anything else.
Codec detect_codec(std::span<const uint8_t> bytes);
/// The size that the header states, without decoding. raw has no header: throws DataError.
ImageSize peek_size(std::span<const uint8_t> bytes, Codec codec);

/// Decodes to RGB: grey and palette are expanded, alpha is laid over white, 16 bits are cut to 8. A JPEG that ends early or lacks its end marker is an error.
/// size: for raw, where the bytes are the pixels; otherwise ignored.
/// at_least: a JPEG may be decoded at 1/2, 1/4 or 1/8 scale as long as both sides stay at least this long (0: full size).
Image decode(std::span<const uint8_t> bytes, Codec codec, ImageSize size = {}, int64_t at_least = 0);

/// png: compression level 6. jpeg: quality 95, 4:4:4. raw: the pixels.
std::vector<uint8_t> encode(const Image& image, Codec codec);

}  // namespace syncdr::data
