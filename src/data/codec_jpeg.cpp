#include <turbojpeg.h>

#include <csetjmp>
#include <cstdio>
// These two want <cstdio>.
#include <jerror.h>
#include <jpeglib.h>

#include <memory>
#include <string>
#include <utility>

#include "image_libraries.h"
#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"

namespace syncdr::data::detail {
namespace {

struct CloseHandle {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using Handle = std::unique_ptr<void, CloseHandle>;

// A decoder costs 20 us to make, so each thread keeps one, until an image is broken: libjpeg-turbo 2 does not reset itself after a broken header, and
// the next image would be read with what is left of this one.
Handle& kept_decoder() {
  thread_local Handle handle;
  if (!handle) handle.reset(tjInitDecompress());
  if (!handle) throw std::bad_alloc();
  return handle;
}

tjhandle decoder() { return kept_decoder().get(); }

[[noreturn]] void refuse(const std::string& what) {
  Handle broken = std::move(kept_decoder());
  throw core::DataError("{}: {}", what, tjGetErrorStr2(broken.get()));
}

struct Header {
  ImageSize size;
  int colours = 0;
};

Header read_header(std::span<const uint8_t> bytes) {
  int width = 0, height = 0, subsampling = 0;
  Header header;
  if (tjDecompressHeader3(decoder(), bytes.data(), bytes.size(), &width, &height, &subsampling, &header.colours) != 0) {
    refuse("JPEG header is broken");
  }
  header.size = {height, width};
  check_size(header.size, "JPEG");
  return header;
}

/// The smallest of full, 1/2, 1/4, 1/8 size whose sides are at_least long: the decoder leaves out the high frequencies and is up to 6 times as fast.
tjscalingfactor choose_scale(ImageSize size, int64_t at_least) {
  tjscalingfactor best{1, 1};
  if (at_least <= 0) return best;
  for (int part : {2, 4, 8}) {
    const tjscalingfactor scale{1, part};
    if (std::min(TJSCALED(size.height, scale), TJSCALED(size.width, scale)) >= at_least) best = scale;
  }
  return best;
}

/// JPEGs with four inks are written by Adobe's programs, which store them inverted: 255 is no ink.
std::vector<uint8_t> rgb_from_cmyk(const std::vector<uint8_t>& inks) {
  std::vector<uint8_t> pixels(inks.size() / 4 * 3);
  for (size_t i = 0; i < inks.size() / 4; ++i) {
    for (size_t c = 0; c < 3; ++c) pixels[i * 3 + c] = static_cast<uint8_t>((inks[i * 4 + c] * inks[i * 4 + 3] + 127) / 255);
  }
  return pixels;
}

/// libjpeg's own interface, which can tell warnings apart.
struct Warnings {
  jpeg_error_mgr manager;  // first: libjpeg hands its address back
  std::jmp_buf end;
  bool others;
};

void on_error(j_common_ptr info) {
  auto* warnings = reinterpret_cast<Warnings*>(info->err);
  warnings->others = true;
  std::longjmp(warnings->end, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code != JWRN_EXTRANEOUS_DATA) on_error(info);
}

/// Whether the decoder complains of bytes that nothing stands in, and of nothing else: all pixels are there. Some cameras and editors write such files.
bool only_surplus_bytes(std::span<const uint8_t> bytes) {
  jpeg_decompress_struct info{};
  Warnings warnings{};
  info.err = jpeg_std_error(&warnings.manager);
  warnings.manager.error_exit = on_error;
  warnings.manager.emit_message = on_message;
  if (setjmp(warnings.end) == 0) {
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, bytes.data(), bytes.size());
    jpeg_read_header(&info, TRUE);
    jpeg_start_decompress(&info);
    const JSAMPARRAY row = info.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&info), JPOOL_IMAGE, info.output_width * info.output_components, 1);
    while (info.output_scanline < info.output_height) jpeg_read_scanlines(&info, row, 1);
    jpeg_finish_decompress(&info);
  }
  jpeg_destroy_decompress(&info);
  return !warnings.others;
}

}  // namespace

ImageSize jpeg_size(std::span<const uint8_t> bytes) { return read_header(bytes).size; }

Image decode_jpeg(std::span<const uint8_t> bytes, int64_t at_least) {
  const Header header = read_header(bytes);
  const tjscalingfactor scale = choose_scale(header.size, at_least);
  const bool inks = header.colours == TJCS_CMYK || header.colours == TJCS_YCCK;
  Image image{TJSCALED(header.size.height, scale), TJSCALED(header.size.width, scale), {}};
  image.pixels.resize(static_cast<size_t>(image.height * image.width) * (inks ? 4 : 3));
  // A warning ("premature end", "bad Huffman code") leaves part of the image grey, so it is an error, but for surplus bytes. A progressive file of some
  // kilobytes can hold thousands of scans over a large image: TJFLAG_LIMITSCANS ends that.
  const auto decompress = [&](int flags) {
    return tjDecompress2(decoder(), bytes.data(), bytes.size(), image.pixels.data(), static_cast<int>(image.width), 0, static_cast<int>(image.height),
                         inks ? TJPF_CMYK : TJPF_RGB, flags | TJFLAG_LIMITSCANS) == 0;
  };
  if (!decompress(TJFLAG_STOPONWARNING)) {
    const auto is_warning = [] { return tjGetErrorCode(decoder()) == TJERR_WARNING; };
    const bool whole = is_warning() && only_surplus_bytes(bytes) && (decompress(0) || is_warning());
    if (!whole) refuse(fmt::format("JPEG of {} bytes is broken", bytes.size()));
  }
  if (inks) image.pixels = rgb_from_cmyk(image.pixels);
  return image;
}

std::vector<uint8_t> encode_jpeg(const Image& image) {
  thread_local Handle encoder;  // as the decoder
  if (!encoder) encoder.reset(tjInitCompress());
  if (!encoder) throw std::bad_alloc();
  unsigned char* buffer = nullptr;
  unsigned long bytes = 0;
  const int status = tjCompress2(encoder.get(), image.pixels.data(), static_cast<int>(image.width), 0, static_cast<int>(image.height), TJPF_RGB, &buffer,
                                 &bytes, TJSAMP_444, 95, TJFLAG_ACCURATEDCT);
  const std::unique_ptr<unsigned char, decltype(&tjFree)> owner(buffer, &tjFree);
  if (status != 0) {
    const Handle broken = std::move(encoder);
    throw core::DataError("an image of {}x{} pixels cannot become a JPEG: {}", image.width, image.height, tjGetErrorStr2(broken.get()));
  }
  return {buffer, buffer + bytes};
}

}  // namespace syncdr::data::detail
