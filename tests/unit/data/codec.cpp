#include "syncdr/data/codec.h"

#include <gtest/gtest.h>
#include <spng.h>
#include <turbojpeg.h>

#include <cmath>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

using namespace syncdr;
using namespace syncdr::data;

namespace {

/// Smooth colours: survive JPEG with small errors.
Image smooth(int64_t height, int64_t width) {
  Image image{height, width, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      image.pixels.insert(image.pixels.end(), {static_cast<uint8_t>(255 * y / height), static_cast<uint8_t>(255 * x / width), static_cast<uint8_t>(128)});
    }
  }
  return image;
}

double mean_difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(int{a[i]} - int{b[i]});
  return sum / static_cast<double>(a.size());
}

/// A PNG of any kind, from samples in that kind.
std::vector<uint8_t> png(uint32_t width, uint32_t height, int type, int depth, const std::vector<uint8_t>& samples, spng_plte* palette = nullptr,
                         spng_trns* transparency = nullptr) {
  spng_ctx* context = spng_ctx_new(SPNG_CTX_ENCODER);
  spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{width, height, static_cast<uint8_t>(depth), static_cast<uint8_t>(type), 0, 0, 0};
  EXPECT_EQ(spng_set_ihdr(context, &header), 0);
  if (palette) {
    EXPECT_EQ(spng_set_plte(context, palette), 0);
  }
  if (transparency) {
    EXPECT_EQ(spng_set_trns(context, transparency), 0);
  }
  EXPECT_EQ(spng_encode_image(context, samples.data(), samples.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
  size_t bytes = 0;
  int error = 0;
  auto* buffer = static_cast<uint8_t*>(spng_get_png_buffer(context, &bytes, &error));
  std::vector<uint8_t> result(buffer, buffer + bytes);
  free(buffer);
  spng_ctx_free(context);
  return result;
}

std::vector<uint8_t> jpeg_of(const std::vector<uint8_t>& samples, int width, int height, int format, int subsampling) {
  tjhandle handle = tjInitCompress();
  unsigned char* buffer = nullptr;
  unsigned long bytes = 0;
  EXPECT_EQ(tjCompress2(handle, samples.data(), width, 0, height, format, &buffer, &bytes, subsampling, 95, 0), 0);
  std::vector<uint8_t> result(buffer, buffer + bytes);
  tjFree(buffer);
  tjDestroy(handle);
  return result;
}

TEST(Codec, PngAndRawComeBackEqualAndJpegNearly) {
  const Image image = smooth(37, 53);
  for (Codec codec : {Codec::png, Codec::raw, Codec::jpeg}) {
    const Image back = decode(encode(image, codec), codec, {37, 53});
    EXPECT_EQ(back.height, 37);
    EXPECT_EQ(back.width, 53);
    if (codec == Codec::jpeg) {
      EXPECT_LT(mean_difference(back.pixels, image.pixels), 1.0);
    } else {
      EXPECT_EQ(back.pixels, image.pixels);
    }
  }
}

TEST(Codec, WhatNoJpegCanHoldIsAnErrorAndLeavesTheNextImagesBytes) {
  const Image image = smooth(37, 53);
  const auto bytes = encode(image, Codec::jpeg);
  EXPECT_ERROR(encode(smooth(1, 65501), Codec::jpeg), core::DataError, "65501x1 pixels cannot become a JPEG");
  EXPECT_EQ(encode(image, Codec::jpeg), bytes);
}

TEST(Codec, NamesAndSignaturesAreTold) {
  for (Codec codec : {Codec::png, Codec::raw, Codec::jpeg}) EXPECT_EQ(codec_from_name(codec_name(codec)), codec);
  EXPECT_ERROR(codec_from_name("webp"), core::DataError, "unknown codec \"webp\"");
  EXPECT_EQ(detect_codec(encode(smooth(8, 8), Codec::png)), Codec::png);
  EXPECT_EQ(detect_codec(encode(smooth(8, 8), Codec::jpeg)), Codec::jpeg);
  EXPECT_ERROR(detect_codec(std::vector<uint8_t>{'G', 'I', 'F', '8', '9', 'a'}), core::DataError, "neither JPEG nor PNG");
  EXPECT_ERROR(detect_codec({}), core::DataError, "empty");
  EXPECT_EQ(peek_size(encode(smooth(9, 21), Codec::png), Codec::png).width, 21);
  EXPECT_EQ(peek_size(encode(smooth(9, 21), Codec::jpeg), Codec::jpeg).height, 9);
  EXPECT_THROW(peek_size({}, Codec::raw), core::DataError);
}

TEST(Codec, GreyPaletteAlphaAndSixteenBitsBecomeRgb) {
  const std::vector<uint8_t> grey{0, 100, 200, 255};
  EXPECT_EQ(decode(png(2, 2, SPNG_COLOR_TYPE_GRAYSCALE, 8, grey), Codec::png).pixels,
            (std::vector<uint8_t>{0, 0, 0, 100, 100, 100, 200, 200, 200, 255, 255, 255}));
  spng_plte palette{.n_entries = 2, .entries = {{10, 20, 30, 0}, {40, 50, 60, 0}}};
  EXPECT_EQ(decode(png(2, 1, SPNG_COLOR_TYPE_INDEXED, 8, {1, 0}, &palette), Codec::png).pixels, (std::vector<uint8_t>{40, 50, 60, 10, 20, 30}));
  spng_trns see_through{};
  see_through.n_type3_entries = 1;  // entry 0 has alpha 0
  EXPECT_EQ(decode(png(2, 1, SPNG_COLOR_TYPE_INDEXED, 8, {1, 0}, &palette, &see_through), Codec::png).pixels,
            (std::vector<uint8_t>{40, 50, 60, 255, 255, 255}));
  const std::vector<uint8_t> rgba{10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 128};
  const Image blended = decode(png(3, 1, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 8, rgba), Codec::png);
  EXPECT_EQ(blended.pixels, (std::vector<uint8_t>{10, 20, 30, 255, 255, 255, 127, 177, 227}));
  EXPECT_EQ(blended.alpha, (std::vector<uint8_t>{rgba[3], rgba[7], rgba[11]}));
  EXPECT_TRUE(decode(encode(blended, Codec::png), Codec::png).alpha.empty());
  const std::vector<uint16_t> wide{0x1234, 0x80FF, 0xFFFF};
  const auto* bytes = reinterpret_cast<const uint8_t*>(wide.data());
  EXPECT_EQ(decode(png(1, 1, SPNG_COLOR_TYPE_TRUECOLOR, 16, {bytes, bytes + 6}), Codec::png).pixels, (std::vector<uint8_t>{0x12, 0x80, 0xFF}));
  const Image from_grey = decode(jpeg_of(std::vector<uint8_t>(64, 77), 8, 8, TJPF_GRAY, TJSAMP_GRAY), Codec::jpeg);
  EXPECT_EQ(from_grey.pixels, std::vector<uint8_t>(192, 77));
}

TEST(Codec, FourInksBecomeRgb) {
  std::vector<uint8_t> inks;  // as Adobe stores them: 255 is no ink; this is a strong red, slightly darkened
  for (int i = 0; i < 64; ++i) inks.insert(inks.end(), {255, 0, 0, 200});
  const Image image = decode(jpeg_of(inks, 8, 8, TJPF_CMYK, TJSAMP_444), Codec::jpeg);
  EXPECT_NEAR(image.pixels[0], 200, 3);
  EXPECT_NEAR(image.pixels[1], 0, 3);
  EXPECT_NEAR(image.pixels[2], 0, 3);
}

TEST(Codec, ScaledDecodingKeepsBothSidesLongEnough) {
  const auto bytes = encode(smooth(400, 600), Codec::jpeg);
  const std::vector<std::pair<int64_t, int64_t>> cases{{0, 400}, {401, 400}, {400, 400}, {201, 400}, {200, 200}, {101, 200}, {100, 100}, {50, 50}, {1, 50}};
  for (const auto& [at_least, height] : cases) {
    const Image image = decode(bytes, Codec::jpeg, {}, at_least);
    EXPECT_EQ(image.height, height) << at_least;
    EXPECT_EQ(image.width, height * 3 / 2) << at_least;
    EXPECT_LT(mean_difference(image.pixels, smooth(height, height * 3 / 2).pixels), 2.0) << at_least;
  }
}

TEST(Codec, EveryTruncationIsAnError) {
  for (Codec codec : {Codec::png, Codec::jpeg}) {
    const auto whole = encode(smooth(32, 32), codec);
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_THROW(decode(std::span(whole).first(size), codec), core::DataError) << codec_name(codec) << " of " << size << " of " << whole.size();
    }
  }
  EXPECT_ERROR(decode(std::vector<uint8_t>(11), Codec::raw, {2, 2}), core::DataError, "11 bytes, 2x2 pixels need 12");
}

TEST(Codec, DamagedPngIsAnError) {
  const auto whole = encode(smooth(32, 32), Codec::png);
  for (size_t i = 0; i < whole.size(); ++i) {
    auto broken = whole;
    broken[i] ^= 0x10;
    EXPECT_THROW(decode(broken, Codec::png), core::DataError) << i;  // every byte lies under a CRC or the signature
  }
}

TEST(Codec, DamagedJpegNeverCrashesAndKeepsItsSizeOrFails) {
  const auto whole = encode(smooth(32, 32), Codec::jpeg);
  int refused = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    for (uint8_t change : {0x01, 0x80, 0xFF}) {
      auto broken = whole;
      broken[i] ^= change;
      try {
        const Image image = decode(broken, Codec::jpeg);
        EXPECT_EQ(image.pixels.size(), static_cast<size_t>(image.height * image.width * 3));
      } catch (const core::DataError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(Codec, ABrokenJpegDoesNotSpoilTheNextOne) {
  const auto good = encode(smooth(32, 32), Codec::jpeg);
  const auto expected = decode(good, Codec::jpeg).pixels;
  for (size_t size = 0; size < good.size(); size += 3) {
    EXPECT_THROW(decode(std::span(good).first(size), Codec::jpeg), core::DataError);
    EXPECT_EQ(decode(good, Codec::jpeg).pixels, expected) << "after one of " << size << " bytes";
  }
}

TEST(Codec, DecompressionBombsAreRefusedFromTheirHeader) {
  auto bomb = encode(smooth(8, 8), Codec::png);
  const std::vector<uint8_t> huge{0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30};  // 30000 x 30000
  std::copy(huge.begin(), huge.end(), bomb.begin() + 16);
  EXPECT_THROW(decode(bomb, Codec::png), core::DataError);  // its CRC is wrong too; the next one's is right
  const auto wide = png(30000, 30000, SPNG_COLOR_TYPE_GRAYSCALE, 1, std::vector<uint8_t>(size_t{3750} * 30000));
  EXPECT_LT(wide.size(), 200000u);
  EXPECT_ERROR(decode(wide, Codec::png), core::DataError, "claims 30000x30000 pixels");
  EXPECT_ERROR(peek_size(wide, Codec::png), core::DataError, "claims 30000x30000 pixels");
  auto liar = png(16000, 16000, SPNG_COLOR_TYPE_GRAYSCALE, 1, std::vector<uint8_t>(size_t{2000} * 16000));
  const auto small = encode(smooth(8, 8), Codec::png);
  const int after_header = 33;
  liar.erase(liar.begin() + after_header, liar.end());
  liar.insert(liar.end(), small.begin() + after_header, small.end());
  EXPECT_ERROR(decode(liar, Codec::png), core::DataError, "cannot hold the 16000x16000 pixels that its header claims");
  auto jpeg = encode(smooth(8, 8), Codec::jpeg);
  const std::vector<uint8_t> start_of_frame{0xFF, 0xC0};
  const auto frame = std::search(jpeg.begin(), jpeg.end(), start_of_frame.begin(), start_of_frame.end());
  ASSERT_NE(frame, jpeg.end());
  for (int i = 5; i < 9; ++i) frame[i] = 0xF0;  // height and width 61680
  EXPECT_ERROR(decode(jpeg, Codec::jpeg), core::DataError, "claims 61680x61680 pixels");
  EXPECT_THROW(decode({}, Codec::raw, {int64_t{1} << 40, int64_t{1} << 40}), core::DataError);
  EXPECT_THROW(decode({}, Codec::raw, {-1, 4}), core::DataError);
}

}  // namespace
