#include "syncdr/data/area.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"

using namespace syncdr;
using namespace syncdr::data;

namespace {

Image noise(int64_t height, int64_t width) {
  core::Random random(1, core::Purpose::split, static_cast<uint64_t>(height * 10'000 + width));
  Image image{height, width, {}};
  for (int64_t i = 0; i < height * width * 3; ++i) image.pixels.push_back(static_cast<uint8_t>(random.bits()));
  return image;
}

/// The mean over the area of a pixel, as its definition has it.
double mean(const Image& image, ImageSize size, int64_t y, int64_t x, int64_t colour) {
  const auto share = [](int64_t i, int64_t from, int64_t to, int64_t j) {
    const double scale = static_cast<double>(from) / static_cast<double>(to), begin = static_cast<double>(i) * scale, at = static_cast<double>(j);
    return std::max(0.0, std::min(begin + scale, at + 1) - std::max(begin, at)) / scale;
  };
  double sum = 0;
  for (int64_t j = 0; j < image.height; ++j) {
    const double down = share(y, image.height, size.height, j);
    for (int64_t i = 0; down > 0 && i < image.width; ++i)
      sum += down * share(x, image.width, size.width, i) * image.pixels[static_cast<size_t>((j * image.width + i) * 3 + colour)];
  }
  return sum;
}

TEST(Shrink, EachPixelIsTheMeanOfItsArea) {
  struct Case {
    int64_t height, width;
    ImageSize size;
    Cut cut;
  };
  for (const auto& [height, width, size, cut] :
       {Case{37, 50, {22, 30}, {4, 0, 22, 22}}, Case{9, 70, {8, 62}, {27, 0, 8, 8}}, Case{64, 64, {16, 16}, {0, 0, 16, 16}},
        Case{40, 40, {39, 40}, {0, 0, 39, 40}}, Case{200, 3, {7, 1}, {0, 2, 5, 1}}, Case{1, 1, {1, 1}, {0, 0, 1, 1}}}) {
    const Image image = noise(height, width), shrunk = shrink(image, size, cut);
    ASSERT_EQ(std::tuple(shrunk.height, shrunk.width, shrunk.pixels.size()),
              std::tuple(cut.height, cut.width, static_cast<size_t>(cut.height * cut.width * 3)));
    double worst = 0;
    for (int64_t y = 0; y < cut.height; ++y)
      for (int64_t x = 0; x < cut.width; ++x)
        for (int64_t c = 0; c < 3; ++c)
          worst = std::max(worst, std::abs(mean(image, size, cut.top + y, cut.left + x, c) - shrunk.pixels[static_cast<size_t>((y * cut.width + x) * 3 + c)]));
    EXPECT_LT(worst, 0.52) << width << "x" << height;
  }
}

TEST(Shrink, WhatDoesNotShrinkStaysAndOneColourStaysOneColour) {
  const Image image = noise(20, 31);
  EXPECT_EQ(shrink(image, {20, 31}, {0, 0, 20, 31}).pixels, image.pixels);
  for (const uint8_t value : {0, 1, 77, 254, 255}) {
    const Image plain{33, 57, std::vector<uint8_t>(33 * 57 * 3, value)};
    EXPECT_EQ(shrink(plain, {17, 19}, {1, 2, 14, 18}).pixels, std::vector<uint8_t>(14 * 18 * 3, value)) << int{value};
  }
}

TEST(Shrink, NothingGrowsAndTheCutLiesWithin) {
  const Image image = noise(10, 10);
  EXPECT_THROW(shrink(image, {11, 10}, {0, 0, 1, 1}), core::BugError);
  EXPECT_THROW(shrink(image, {10, 0}, {0, 0, 1, 1}), core::BugError);
  EXPECT_THROW(shrink(image, {5, 5}, {3, 0, 5, 3}), core::BugError);
  EXPECT_THROW(shrink(image, {5, 5}, {-1, 0, 5, 3}), core::BugError);
}

}  // namespace
