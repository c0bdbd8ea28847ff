#include "losses.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace syncdr::fit {
namespace {

double value_of(const at::Tensor& loss) { return loss.item<double>(); }

/// [1, 3, 2, 2] of one colour.
at::Tensor plain(double red, double green, double blue) {
  const at::Tensor image = at::zeros({1, 3, 2, 2});
  image.select(1, 0).fill_(red);
  image.select(1, 1).fill_(green);
  image.select(1, 2).fill_(blue);
  return image;
}

TEST(AutoencoderLoss, PixelErrorsOfKnownDifferences) {
  const at::Tensor image = at::zeros({2, 3, 4, 4}), off = at::full({2, 3, 4, 4}, 0.5);
  EXPECT_NEAR(value_of(pixel_error(off, image, "l1")), 0.5, 1e-6);
  EXPECT_NEAR(value_of(pixel_error(off, image, "l2")), 0.25, 1e-6);
  EXPECT_NEAR(value_of(pixel_error(off, image, "huber")), 0.45, 1e-6);          // 0.5 less half the corner
  EXPECT_NEAR(value_of(pixel_error(0.1 * off, image, "huber")), 0.0125, 1e-6);  // 0.05^2 / 2 / 0.1
}

TEST(AutoencoderLoss, ChromaErrorIsBlindToLumaAndSeesHue) {
  EXPECT_NEAR(value_of(chroma_error(plain(0.4, 0.4, 0.4), plain(-0.2, -0.2, -0.2), 4)), 0, 1e-9);
  // Red made grey: Cr = 0.713 (1 - 0.299), Cb = -0.564 0.299, counted from black.
  const double squares = std::pow(0.713 * 0.701 * 2, 2) + std::pow(0.564 * 0.299 * 2, 2);
  EXPECT_NEAR(value_of(chroma_error(plain(-1, -1, -1), plain(1, -1, -1), 0)), squares, 1e-5);
}

TEST(AutoencoderLoss, ChromaErrorWeighsByTheImagesSaturationNotTheReconstructions) {
  const at::Tensor red = plain(1, -1, -1), grey = plain(0, 0, 0);
  EXPECT_NEAR(value_of(chroma_error(grey, red, 4)), 5 * value_of(chroma_error(grey, red, 0)), 1e-5);
  EXPECT_NEAR(value_of(chroma_error(red, grey, 4)), value_of(chroma_error(red, grey, 0)), 1e-6);
}

TEST(AutoencoderLoss, GradientErrorIsBlindToBrightnessAndSeesAThinLine) {
  const at::Tensor image = at::zeros({1, 3, 8, 8}), line = image.clone();
  line.select(3, 4).fill_(1);
  EXPECT_NEAR(value_of(gradient_error(image + 0.3, image)), 0, 1e-6);
  EXPECT_NEAR(value_of(gradient_error(line, image)), 2.0 / 7, 1e-6);  // two steps among the seven of a row
  EXPECT_NEAR(value_of(gradient_error(line.transpose(2, 3), image)), 2.0 / 7, 1e-6);
}

TEST(AutoencoderLoss, DivergenceOfKnownDistributions) {
  const at::Tensor zero = at::zeros({2, 4, 3, 3});
  EXPECT_NEAR(value_of(kl_divergence(zero, zero)), 0, 1e-7);
  EXPECT_NEAR(value_of(kl_divergence(zero + 2, zero)), 2, 1e-6);
  EXPECT_NEAR(value_of(kl_divergence(zero, zero + std::log(4.0))), (4 - 1 - std::log(4.0)) / 2, 1e-6);
}

}  // namespace
}  // namespace syncdr::fit
