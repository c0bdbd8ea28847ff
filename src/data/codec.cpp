#include "syncdr/data/codec.h"

#include <array>
#include <string_view>

#include "image_libraries.h"
#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"

namespace syncdr::data {
namespace {

Image decode_raw(std::span<const uint8_t> bytes, ImageSize size) {
  detail::check_size(size, "raw image");
  const uint64_t expected = static_cast<uint64_t>(size.height) * static_cast<uint64_t>(size.width) * 3;  // cannot overflow: the size is checked
  if (bytes.size() != expected) throw core::DataError("raw image has {} bytes, {}x{} pixels need {}", bytes.size(), size.width, size.height, expected);
  return {size.height, size.width, {bytes.begin(), bytes.end()}};
}

}  // namespace

void detail::check_size(ImageSize size, const char* what, int64_t most) {
  if (size.height <= 0 || size.width <= 0) throw core::DataError("{}: {}x{} pixels are no image", what, size.width, size.height);
  if (size.width > most / size.height) {
    throw core::DataError("{}: the header claims {}x{} pixels, at most {} are decoded", what, size.width, size.height, most);
  }
}

Codec codec_from_name(const std::string& name) {
  for (Codec codec : {Codec::raw, Codec::png, Codec::jpeg}) {
    if (name == codec_name(codec)) return codec;
  }
  throw core::DataError("unknown codec \"{}\"; known are raw, png, jpeg", name);
}

const char* codec_name(Codec codec) {
  constexpr std::array names{"raw", "png", "jpeg"};  // in the order of Codec
  return names.at(static_cast<size_t>(codec));
}

Codec detect_codec(std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("\xFF\xD8\xFF")) return Codec::jpeg;
  if (text.starts_with("\x89PNG\r\n\x1A\n")) return Codec::png;
  if (bytes.empty()) throw core::DataError("the file is empty");
  throw core::DataError("is neither JPEG nor PNG (its first byte is 0x{:02x})", bytes[0]);
}

ImageSize peek_size(std::span<const uint8_t> bytes, Codec codec) {
  switch (codec) {
    case Codec::jpeg: return detail::jpeg_size(bytes);
    case Codec::png: return detail::png_size(bytes);
    case Codec::raw: break;
  }
  throw core::DataError("raw images have no header that states their size");
}

Image decode(std::span<const uint8_t> bytes, Codec codec, ImageSize size, int64_t at_least) {
  switch (codec) {
    case Codec::jpeg: return detail::decode_jpeg(bytes, at_least);
    case Codec::png: return detail::decode_png(bytes);
    case Codec::raw: break;
  }
  return decode_raw(bytes, size);
}

std::vector<uint8_t> encode(const Image& image, Codec codec) {
  detail::check_size({image.height, image.width}, "image to encode");
  SYNCDR_ASSERT(std::cmp_equal(image.pixels.size(), image.height * image.width * 3), "{} bytes for {}x{} pixels", image.pixels.size(), image.width,
                image.height);
  switch (codec) {
    case Codec::jpeg: return detail::encode_jpeg(image);
    case Codec::png: return detail::encode_png(image);
    case Codec::raw: break;
  }
  return image.pixels;
}

}  // namespace syncdr::data
