#include "syncdr/data/pictures.h"

#include <libexif/exif-data.h>
#include <libexif/exif-utils.h>
#include <tiffio.h>
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "image_libraries.h"
#include "syncdr/core/error.h"

namespace syncdr::data {
namespace {

std::string_view text_of(std::span<const uint8_t> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// What else a picture's file may be, by its first bytes.
std::string known_name(std::string_view text) {
  struct Signature {
    size_t place;
    std::string_view bytes;
    const char* name;
  };
  static constexpr std::array signatures{Signature{0, "GIF8", "a GIF"},
                                         Signature{0, "BM", "a BMP"},
                                         Signature{4, "ftypavif", "an AVIF"},
                                         Signature{4, "ftyp", "a HEIF or a film"},
                                         Signature{0, "\xFF\x0A", "a JPEG XL"},
                                         Signature{4, "JXL ", "a JPEG XL"},
                                         Signature{4, "jP  ", "a JPEG 2000"},
                                         Signature{0, "8BPS", "a Photoshop file"},
                                         Signature{0, "%PDF", "a PDF"},
                                         Signature{0, "<", "a text (SVG, HTML)"},
                                         Signature{0, "version https://git-lfs", "a pointer of Git LFS, not the picture itself"}};
  for (const Signature& signature : signatures)
    if (text.size() > signature.place && text.substr(signature.place).starts_with(signature.bytes)) return signature.name;
  return "";
}

uint8_t over_white(int value, int alpha) { return static_cast<uint8_t>((value * alpha + 255 * (255 - alpha) + 127) / 255); }

Image decode_webp(std::span<const uint8_t> bytes, int64_t most_pixels) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK) throw core::DataError("WebP header is broken");
  if (features.has_animation) throw core::DataError("is an animation in WebP: take a picture out of it");
  detail::check_size({features.height, features.width}, "WebP", most_pixels);
  int width = 0, height = 0;
  const std::unique_ptr<uint8_t, decltype(&WebPFree)> rgba(WebPDecodeRGBA(bytes.data(), bytes.size(), &width, &height), &WebPFree);
  if (!rgba) throw core::DataError("WebP of {} bytes is broken or cut short", bytes.size());
  Image image{height, width, {}};
  image.pixels.resize(static_cast<size_t>(image.height * image.width) * 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    const uint8_t* pixel = rgba.get() + i / 3 * 4;
    image.pixels[i] = over_white(pixel[i % 3], pixel[3]);
  }
  return image;
}

/// A file in memory, as libtiff wants to read it, and what it complained of.
struct TiffBytes {
  std::span<const uint8_t> bytes;
  uint64_t place = 0;
  std::string complaint;

  static TiffBytes& of(thandle_t handle) { return *static_cast<TiffBytes*>(handle); }
  static tmsize_t read(thandle_t handle, void* to, tmsize_t count) {
    TiffBytes& file = of(handle);
    const uint64_t left = file.bytes.size() - std::min<uint64_t>(file.place, file.bytes.size());
    const uint64_t taken = std::min(left, static_cast<uint64_t>(count));
    if (taken > 0) std::memcpy(to, file.bytes.data() + file.place, taken);
    file.place += taken;
    return static_cast<tmsize_t>(taken);
  }
  static tmsize_t write(thandle_t, void*, tmsize_t) { return 0; }
  static toff_t seek(thandle_t handle, toff_t offset, int from) {
    TiffBytes& file = of(handle);
    file.place = (from == SEEK_SET ? 0 : from == SEEK_CUR ? file.place : file.bytes.size()) + offset;
    return file.place;
  }
  static int close(thandle_t) { return 0; }
  static toff_t size(thandle_t handle) { return of(handle).bytes.size(); }
  static int complain(TIFF*, void* file, const char*, const char* format, va_list values) {
    std::array<char, 200> text{};
    std::vsnprintf(text.data(), text.size(), format, values);
    auto& complaint = static_cast<TiffBytes*>(file)->complaint;
    if (complaint.empty()) complaint = text.data();
    return 1;
  }
  static int pass_over(TIFF*, void*, const char*, const char*, va_list) { return 1; }  // tags of other programs
};

/// Whether libtiff gives colours that are multiplied with alpha: it multiplies those that are not, but for grey ones (4.5.0).
bool colours_hold_alpha(TIFF* tiff) {
  uint16_t samples = 1, extra = 0;
  uint16_t* kinds = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra, &kinds);
  return samples > 2 || extra == 0 || kinds[0] == EXTRASAMPLE_ASSOCALPHA;
}

Image decode_tiff(std::span<const uint8_t> bytes, int64_t most_pixels) {
  TiffBytes file{bytes};
  const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(TIFFOpenOptionsAlloc(), &TIFFOpenOptionsFree);
  if (!options) throw std::bad_alloc();
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), std::max(8 * most_pixels, int64_t{1} << 26));  // of a tile, which may be larger than the picture
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), &TiffBytes::complain, &file);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), &TiffBytes::pass_over, nullptr);
  const std::unique_ptr<TIFF, decltype(&TIFFClose)> tiff(TIFFClientOpenExt("", "rm", &file, &TiffBytes::read, &TiffBytes::write, &TiffBytes::seek,
                                                                           &TiffBytes::close, &TiffBytes::size, nullptr, nullptr, options.get()),
                                                         &TIFFClose);
  if (!tiff) throw core::DataError("TIFF header is broken: {}", file.complaint);
  uint32_t width = 0, height = 0;
  TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height);
  detail::check_size({height, width}, "TIFF", most_pixels);
  std::array<char, 1024> why{};
  if (!TIFFRGBAImageOK(tiff.get(), why.data())) throw core::DataError("TIFF of a kind that is not read: {}", why.data());
  std::vector<uint32_t> raster(size_t{width} * height);
  uint16_t orientation = ORIENTATION_TOPLEFT;
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_ORIENTATION, &orientation);
  // As it is stored: libtiff would only mirror a picture that lies on its side.
  if (!TIFFReadRGBAImageOriented(tiff.get(), width, height, raster.data(), orientation, 1))
    throw core::DataError("TIFF of {} bytes is broken or cut short: {}", bytes.size(), file.complaint);
  const bool multiplied = colours_hold_alpha(tiff.get());
  Image image{height, width, {}};
  image.pixels.reserve(raster.size() * 3);
  for (const uint32_t pixel : raster) {
    const auto alpha = TIFFGetA(pixel);
    for (const uint32_t value : {TIFFGetR(pixel), TIFFGetG(pixel), TIFFGetB(pixel)})
      image.pixels.push_back(multiplied ? static_cast<uint8_t>(std::min(value + 255 - alpha, 255U))
                                        : over_white(static_cast<int>(value), static_cast<int>(alpha)));
  }
  return upright(std::move(image), orientation >= 1 && orientation <= 8 ? orientation : 1);
}

/// The orientation in an EXIF block, or in a JPEG that holds one.
int exif_orientation(std::span<const uint8_t> bytes) {
  const std::unique_ptr<ExifData, decltype(&exif_data_unref)> data(exif_data_new_from_data(bytes.data(), static_cast<unsigned>(bytes.size())),
                                                                   &exif_data_unref);
  if (!data) return 1;
  const ExifEntry* entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (!entry || entry->format != EXIF_FORMAT_SHORT || entry->size < 2) return 1;
  const int value = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return value >= 1 && value <= 8 ? value : 1;
}

/// A block without the mark that JPEG puts before it.
int bare_exif_orientation(std::span<const uint8_t> block) {
  std::vector<uint8_t> marked{'E', 'x', 'i', 'f', 0, 0};
  if (text_of(block).starts_with("Exif")) marked.clear();  // some writers keep it
  marked.insert(marked.end(), block.begin(), block.end());
  return exif_orientation(marked);
}

/// The content of a PNG's chunk; empty: it has none.
std::span<const uint8_t> png_chunk(std::span<const uint8_t> bytes, std::string_view kind) {
  for (size_t at = 8; at + 12 <= bytes.size();) {
    const size_t length = size_t{bytes[at]} << 24 | size_t{bytes[at + 1]} << 16 | size_t{bytes[at + 2]} << 8 | bytes[at + 3];
    if (length > bytes.size() - at - 12) break;
    if (text_of(bytes.subspan(at + 4, 4)) == kind) return bytes.subspan(at + 8, length);
    at += 12 + length;
  }
  return {};
}

int webp_orientation(std::span<const uint8_t> bytes) {
  const WebPData whole{bytes.data(), bytes.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> file(WebPDemux(&whole), &WebPDemuxDelete);
  WebPChunkIterator chunk;
  if (!file || !WebPDemuxGetChunk(file.get(), "EXIF", 1, &chunk)) return 1;
  const int orientation = bare_exif_orientation({chunk.chunk.bytes, chunk.chunk.size});
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

}  // namespace

PictureFormat format_of(std::span<const uint8_t> bytes) {
  const std::string_view text = text_of(bytes);
  if (text.starts_with("RIFF") && text.size() >= 12 && text.substr(8, 4) == "WEBP") return PictureFormat::webp;
  for (const std::string_view start : {std::string_view("II*\0", 4), std::string_view("MM\0*", 4), std::string_view("II+\0", 4), std::string_view("MM\0+", 4)})
    if (text.starts_with(start)) return PictureFormat::tiff;
  if (const std::string name = known_name(text); !name.empty()) throw core::DataError("is {}; JPEG, PNG, WebP and TIFF are read", name);
  return detect_codec(bytes) == Codec::jpeg ? PictureFormat::jpeg : PictureFormat::png;
}

int orientation_of(std::span<const uint8_t> bytes, PictureFormat format) {
  switch (format) {
    case PictureFormat::jpeg: return exif_orientation(bytes);
    case PictureFormat::png: {
      const auto chunk = png_chunk(bytes, "eXIf");
      return chunk.empty() ? 1 : bare_exif_orientation(chunk);
    }
    case PictureFormat::webp: return webp_orientation(bytes);
    case PictureFormat::tiff: break;
  }
  return 1;
}

Image upright(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool swaps = orientation >= 5;
  Image turned{swaps ? image.width : image.height, swaps ? image.height : image.width, {}};
  turned.pixels.resize(image.pixels.size());
  for (int64_t y = 0; y < turned.height; ++y)
    for (int64_t x = 0; x < turned.width; ++x) {
      // Where the pixel lies in the picture as it is stored; 2 to 4 mirror or turn by half, 5 to 8 swap the axes too.
      int64_t row = swaps ? x : y, column = swaps ? y : x;
      if (orientation == 3 || orientation == 4 || orientation == 7 || orientation == 6) row = image.height - 1 - row;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) column = image.width - 1 - column;
      std::copy_n(image.pixels.begin() + (row * image.width + column) * 3, 3, turned.pixels.begin() + (y * turned.width + x) * 3);
    }
  return turned;
}

Image decode_picture(std::span<const uint8_t> bytes, PictureFormat format, int64_t at_least, int64_t most_pixels) {
  switch (format) {
    case PictureFormat::jpeg: detail::check_size(peek_size(bytes, Codec::jpeg), "JPEG", most_pixels); return decode(bytes, Codec::jpeg, {}, at_least);
    case PictureFormat::png: detail::check_size(peek_size(bytes, Codec::png), "PNG", most_pixels); return decode(bytes, Codec::png);
    case PictureFormat::webp: return decode_webp(bytes, most_pixels);
    case PictureFormat::tiff: break;
  }
  return decode_tiff(bytes, most_pixels);
}

Image upright_picture(std::span<const uint8_t> bytes, int64_t at_least, int64_t most_pixels) {
  const PictureFormat format = format_of(bytes);
  return upright(decode_picture(bytes, format, at_least, most_pixels), orientation_of(bytes, format));
}

}  // namespace syncdr::data
