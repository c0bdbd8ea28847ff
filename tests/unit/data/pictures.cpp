#include "syncdr/data/pictures.h"

#include <gmock/gmock.h>

#include "syncdr/core/error.h"

namespace syncdr::data {
namespace {

/// Left red, right blue: 4 x 2.
Image two_colours() {
  Image image{2, 4, {}};
  for (int i = 0; i < 8; ++i)
    image.pixels.insert(image.pixels.end(), {static_cast<uint8_t>(i % 4 < 2 ? 255 : 0), 0, static_cast<uint8_t>(i % 4 < 2 ? 0 : 255)});
  return image;
}

TEST(Pictures, OnesOfMorePixelsThanAskedForAreRefusedByTheirHeader) {
  std::vector<uint8_t> tiff{'I', 'I', '*', 0, 8, 0, 0, 0, 4, 0};
  for (const uint8_t entry : {0, 1, 17, 23})  // width 4, height 2, the strip's place and length: tags 256, 257, 273, 279
    for (const uint8_t byte : {int{entry}, 1, 4, 0, 1, 0, 0, 0, entry == 0 ? 4 : entry == 1 ? 2 : 8, 0, 0, 0}) tiff.push_back(byte);
  tiff.insert(tiff.end(), 4, 0);
  // A canvas of 4 x 2, and nothing behind it.
  const std::vector<uint8_t> webp{'R', 'I', 'F', 'F', 22, 0, 0, 0, 'W', 'E', 'B', 'P', 'V', 'P', '8', 'X', 10, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 1, 0, 0};
  for (const auto& bytes : {encode(two_colours(), Codec::png), encode(two_colours(), Codec::jpeg), tiff, webp}) {
    try {
      upright_picture(bytes, 0, /*most_pixels=*/7);
      ADD_FAILURE() << "was decoded";
    } catch (const core::DataError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("claims 4x2 pixels, at most 7"));
    }
  }
  EXPECT_EQ(upright_picture(encode(two_colours(), Codec::png), 0, 8).pixels, two_colours().pixels);
}

TEST(Pictures, OnesOnTheirSideStandUp) {
  // EXIF with nothing but the orientation 6, "turn to the right", behind the mark of a JPEG's beginning.
  const std::vector<uint8_t> exif{0xFF, 0xE1, 0,    34,   'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, '*', 0, 0, 0, 8,
                                  0,    1,    0x01, 0x12, 0,   3,   0,   0,   0, 1, 0,   6,   0, 0,   0, 0, 0, 0};
  std::vector<uint8_t> bytes = encode(two_colours(), Codec::jpeg);
  bytes.insert(bytes.begin() + 2, exif.begin(), exif.end());
  const Image image = upright_picture(bytes);
  ASSERT_EQ(image.height, 4);
  ASSERT_EQ(image.width, 2);
  EXPECT_GT(image.pixels.front(), 200) << "red is now above";
  EXPECT_GT(image.pixels.back(), 200) << "blue below";
}

}  // namespace
}  // namespace syncdr::data
