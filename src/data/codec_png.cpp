#include <spng.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include "image_libraries.h"
#include "syncdr/core/error.h"

namespace syncdr::data::detail {
namespace {

using Context = std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)>;

// Comments and colour profiles are of no use here; a compressed one may not grow without end.
constexpr size_t max_chunk = size_t{32} << 20;

Context make_context(int flags) {
  Context context(spng_ctx_new(flags), &spng_ctx_free);
  if (!context) throw std::bad_alloc();
  return context;
}

void check(int status, const char* what) {
  if (status != 0) throw core::DataError("PNG {}: {}", what, spng_strerror(status));
}

spng_ihdr open(spng_ctx* context, std::span<const uint8_t> bytes) {
  check(spng_set_chunk_limits(context, max_chunk, max_chunk), "limits");
  check(spng_set_png_buffer(context, bytes.data(), bytes.size()), "input");
  spng_ihdr header{};
  check(spng_get_ihdr(context, &header), "header is broken");
  check_size({header.height, header.width}, "PNG");
  return header;
}

bool is_transparent(spng_ctx* context, const spng_ihdr& header) {
  if (header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA || header.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA) return true;
  spng_trns transparent{};
  return spng_get_trns(context, &transparent) == 0;
}

/// Alpha over white, rounded. rgba [N, 4] -> [N, 3]
std::vector<uint8_t> over_white(const std::vector<uint8_t>& rgba) {
  std::vector<uint8_t> pixels(rgba.size() / 4 * 3);
  for (size_t i = 0; i < rgba.size() / 4; ++i) {
    const int alpha = rgba[i * 4 + 3];
    for (size_t c = 0; c < 3; ++c) pixels[i * 3 + c] = static_cast<uint8_t>((rgba[i * 4 + c] * alpha + 255 * (255 - alpha) + 127) / 255);
  }
  return pixels;
}

std::vector<uint8_t> alpha_of(const std::vector<uint8_t>& rgba) {
  std::vector<uint8_t> alpha(rgba.size() / 4);
  for (size_t i = 0; i < alpha.size(); ++i) alpha[i] = rgba[i * 4 + 3];
  return alpha;
}

/// spng stops reading before the end mark's last bytes, so a file cut there would pass. Bytes after the mark are harmless and common.
void check_end(std::span<const uint8_t> bytes) {
  constexpr std::array<uint8_t, 12> end{0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82};
  if (std::find_end(bytes.begin(), bytes.end(), end.begin(), end.end()) == bytes.end()) {
    throw core::DataError("PNG of {} bytes has no end mark: it was cut short", bytes.size());
  }
}

/// Deflate makes at most 1032 bytes of one: a header that claims more than the file can hold takes no memory for it.
void check_room(const spng_ihdr& header, size_t bytes) {
  constexpr std::array<uint64_t, 7> channels{1, 0, 3, 1, 2, 0, 4};  // by colour type
  const uint64_t least = uint64_t{header.height} * header.width * channels.at(header.color_type) * header.bit_depth / 8 / 1032;
  if (least > bytes)
    throw core::DataError("PNG of {} bytes cannot hold the {}x{} pixels that its header claims: it was cut short", bytes, header.width, header.height);
}

}  // namespace

ImageSize png_size(std::span<const uint8_t> bytes) {
  const Context context = make_context(0);
  const spng_ihdr header = open(context.get(), bytes);
  return {header.height, header.width};
}

Image decode_png(std::span<const uint8_t> bytes) {
  const Context context = make_context(0);
  const spng_ihdr header = open(context.get(), bytes);
  check_end(bytes);
  check_room(header, bytes.size());
  const bool alpha = is_transparent(context.get(), header);
  const int format = alpha ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8;
  Image image{header.height, header.width, std::vector<uint8_t>(size_t{header.height} * header.width * (alpha ? 4 : 3))};
  check(spng_decode_image(context.get(), image.pixels.data(), image.pixels.size(), format, alpha ? SPNG_DECODE_TRNS : 0), "data is broken");
  check(spng_decode_chunks(context.get()), "is broken after its pixels");
  if (alpha) {
    image.alpha = alpha_of(image.pixels);
    image.pixels = over_white(image.pixels);
  }
  return image;
}

std::vector<uint8_t> encode_png(const Image& image) {
  const Context context = make_context(SPNG_CTX_ENCODER);
  check(spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1), "encoder");
  check(spng_set_option(context.get(), SPNG_IMG_COMPRESSION_LEVEL, 6), "encoder");
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(image.width);
  header.height = static_cast<uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  check(spng_set_ihdr(context.get(), &header), "encoder");
  check(spng_encode_image(context.get(), image.pixels.data(), image.pixels.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), "encoding");
  size_t bytes = 0;
  int status = 0;
  const std::unique_ptr<void, decltype(&std::free)> buffer(spng_get_png_buffer(context.get(), &bytes, &status), &std::free);
  check(status, "encoding");
  const auto* first = static_cast<const uint8_t*>(buffer.get());
  return {first, first + bytes};
}

}  // namespace syncdr::data::detail
