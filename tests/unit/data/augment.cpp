#include "syncdr/data/augment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "syncdr/core/error.h"

namespace syncdr::data {
namespace {

Image noise(int64_t height, int64_t width) {
  Image image{height, width, std::vector<uint8_t>(static_cast<size_t>(height * width * 3))};
  core::Random random(1, core::Purpose::render);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.below(256));
  return image;
}

/// Red grows from left to right and green from top to bottom, so that a pixel tells where it came from.
Image ramp(int64_t side) {
  Image image{side, side, {}};
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) image.pixels.insert(image.pixels.end(), {static_cast<uint8_t>(x), static_cast<uint8_t>(y), 7});
  }
  return image;
}

AugmentConfig plain(int64_t resize, int64_t crop) {
  AugmentConfig config;
  config.resize = resize, config.crop = crop, config.flip = 0;
  return config;
}

core::Random stream(uint64_t key) { return core::Random(3, core::Purpose::augmentation, key); }

std::vector<uint8_t> augmented(const Image& image, const AugmentConfig& config, uint64_t key = 0) {
  std::vector<uint8_t> out(static_cast<size_t>(config.crop * config.crop * 3));
  augment(image, config, stream(key), out.data());
  return out;
}

std::vector<uint8_t> evaluated(const Image& image, const AugmentConfig& config) {
  std::vector<uint8_t> out(static_cast<size_t>(config.crop * config.crop * 3));
  evaluation_view(image, config, out.data());
  return out;
}

int red(const std::vector<uint8_t>& view, int64_t side, int64_t x, int64_t y) { return view[static_cast<size_t>(y * side + x) * 3]; }
int green(const std::vector<uint8_t>& view, int64_t side, int64_t x, int64_t y) { return view[static_cast<size_t>(y * side + x) * 3 + 1]; }

double mean(const std::vector<uint8_t>& values) {
  double sum = 0;
  for (const uint8_t value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

TEST(Augment, WithoutChangesCopiesEveryPixel) {
  const Image image = noise(32, 32);
  EXPECT_EQ(augmented(image, plain(32, 32)), image.pixels);
}

TEST(Augment, CropIsACutOfWholePixelsThatMoves) {
  const Image image = ramp(32);
  std::set<std::pair<int, int>> corners;
  for (uint64_t key = 0; key < 300; ++key) {
    const auto view = augmented(image, plain(32, 24), key);
    const int left = red(view, 24, 0, 0), top = green(view, 24, 0, 0);
    ASSERT_LE(left, 8);
    ASSERT_LE(top, 8);
    ASSERT_EQ(red(view, 24, 23, 23), left + 23);
    ASSERT_EQ(green(view, 24, 23, 23), top + 23);
    corners.insert({left, top});
  }
  EXPECT_GT(corners.size(), 70u) << "of 81 places";
}

TEST(Augment, FlipMirrorsTheColumns) {
  AugmentConfig config = plain(32, 32);
  config.flip = 1;
  const auto view = augmented(ramp(32), config);
  for (int64_t x = 0; x < 32; ++x) EXPECT_EQ(red(view, 32, x, 5), 31 - x);
  EXPECT_EQ(green(view, 32, 3, 9), 9);
}

TEST(Augment, RotationTurnsAboutTheCentreByAtMostTheAngle) {
  AugmentConfig config = plain(64, 64);
  config.rotation = 20;
  double widest = 0;
  for (uint64_t key = 0; key < 200; ++key) {
    const auto view = augmented(ramp(64), config, key);
    EXPECT_NEAR(red(view, 64, 32, 32), 32, 1);
    EXPECT_NEAR(green(view, 64, 32, 32), 32, 1);
    // along the middle row the source's row changes by sin(angle) a column
    const double slope = (green(view, 64, 48, 32) - green(view, 64, 16, 32)) / 32.0;
    widest = std::max(widest, std::abs(std::asin(slope) * 180 / 3.14159265));
  }
  EXPECT_GT(widest, 15);
  EXPECT_LT(widest, 23);
}

TEST(Augment, ScaleAndShiftStayInTheirRange) {
  AugmentConfig config = plain(100, 100);
  config.scale = 0.2, config.shift = 0.1;
  double smallest = 9, largest = 0, farthest = 0;
  for (uint64_t key = 0; key < 300; ++key) {
    const auto view = augmented(ramp(100), config, key);
    const double zoom = 30.0 / (red(view, 100, 65, 50) - red(view, 100, 35, 50));
    smallest = std::min(smallest, zoom), largest = std::max(largest, zoom);
    farthest = std::max(farthest, std::abs(red(view, 100, 50, 50) - 50.0) * zoom);
  }
  EXPECT_NEAR(smallest, 0.8, 0.06);
  EXPECT_NEAR(largest, 1.2, 0.08);
  EXPECT_NEAR(farthest, 10, 1.6);
}

TEST(Augment, BordersAreRepeated) {
  AugmentConfig config = plain(32, 32);
  config.rotation = 45, config.scale = 0.5, config.shift = 0.5;
  Image white{32, 32, std::vector<uint8_t>(32 * 32 * 3, 255)};
  for (uint64_t key = 0; key < 20; ++key) EXPECT_EQ(augmented(white, config, key), white.pixels);
}

TEST(Augment, ShrinkingALotAveragesInsteadOfSkippingPixels) {
  Image stripes = noise(256, 256);
  for (int64_t i = 0; i < 256 * 256; ++i) {
    for (int64_t c = 0; c < 3; ++c) stripes.pixels[static_cast<size_t>(i * 3 + c)] = (i % 256) % 4 == 0 ? 255 : 0;
  }
  for (const uint8_t value : augmented(stripes, plain(32, 32))) ASSERT_NEAR(value, 64, 2);
}

TEST(Augment, GreyHasEqualChannelsAndKeepsWhite) {
  AugmentConfig config = plain(32, 32);
  config.grey = 1;
  const auto view = augmented(noise(32, 32), config);
  for (size_t i = 0; i < view.size(); i += 3) ASSERT_TRUE(view[i] == view[i + 1] && view[i] == view[i + 2]);
  const Image white{32, 32, std::vector<uint8_t>(32 * 32 * 3, 255)};
  EXPECT_EQ(augmented(white, config), white.pixels);
}

TEST(Augment, SameStreamGivesSamePixelsAndAnotherStreamOthers) {
  AugmentConfig config;
  config.rotation = 10, config.scale = 0.1, config.shift = 0.1, config.grey = 0.5;
  const Image image = noise(60, 90);
  EXPECT_EQ(augmented(image, config, 5), augmented(image, config, 5));
  EXPECT_NE(augmented(image, config, 5), augmented(image, config, 6));
}

TEST(Augment, CropLargerThanResizeIsAUsageError) {
  EXPECT_THROW(augmented(noise(8, 8), plain(16, 24)), core::UsageError);
  EXPECT_THROW(evaluated(noise(8, 8), plain(16, 24)), core::UsageError);
}

TEST(EvaluationView, IsTheCentreAndNeverRandom) {
  AugmentConfig config = plain(32, 24);
  config.flip = 1, config.rotation = 90, config.grey = 1;
  const auto view = evaluated(ramp(32), config);
  EXPECT_EQ(red(view, 24, 0, 0), 4);
  EXPECT_EQ(green(view, 24, 0, 0), 4);
  EXPECT_EQ(red(view, 24, 23, 0), 27);
}

TEST(EvaluationView, AveragesWhenShrinkingOneAxisAndEnlargingTheOther) {
  const Image wide = noise(16, 640);
  const auto view = evaluated(wide, plain(32, 32));
  EXPECT_NEAR(mean(view), mean(wide.pixels), 1);
  double deviation = 0;
  for (const uint8_t value : view) deviation += std::abs(value - 127.5);
  EXPECT_LT(deviation / static_cast<double>(view.size()), 20) << "20 columns are averaged into one: uniform noise has a mean deviation of 64";
}

TEST(Augment, ContrastBrightnessAndNegativeAreOneLinearMapCutToTheRange) {
  Image image{.height = 8, .width = 8, .pixels = std::vector<uint8_t>(8 * 8 * 3)};
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(40 + i % 160);
  const AugmentConfig plain{.resize = 8, .crop = 8, .flip = 0};
  std::vector<uint8_t> before(image.pixels.size()), after(image.pixels.size());
  augment(image, plain, core::Random(1, core::Purpose::augmentation), before.data());
  EXPECT_EQ(before, image.pixels);

  AugmentConfig negative = plain;
  negative.invert = 1;
  augment(image, negative, core::Random(1, core::Purpose::augmentation), after.data());
  for (size_t i = 0; i < after.size(); ++i) EXPECT_EQ(after[i], 255 - before[i]);

  AugmentConfig tone = plain;
  tone.contrast = 0.5;
  tone.brightness = 0.2;
  bool changed = false;
  for (uint64_t key = 0; key < 20; ++key) {
    augment(image, tone, core::Random(1, core::Purpose::augmentation, key), after.data());
    changed = changed || after != before;
    for (size_t i = 1; i < after.size(); ++i)  // the order of values is kept
      EXPECT_EQ(before[i] < before[i - 1] ? after[i] <= after[i - 1] : after[i] >= after[i - 1], true);
  }
  EXPECT_TRUE(changed);
}

}  // namespace
}  // namespace syncdr::data
