#include "syncdr/diffusion/structure_map.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion::structure_map_tests {
namespace {

using at::indexing::Slice;

/// The formula in float64 with convolutions. image [C, H, W] in [0, 1].
at::Tensor by_formula(const at::Tensor& image, double sigma) {
  const int64_t radius = (std::lround(8 * sigma + 1) | 1) / 2;
  const at::Tensor x = at::arange(-radius, radius + 1).to(at::kDouble), bell = (-x * x / (2 * sigma * sigma)).exp(), kernel = bell / bell.sum();
  const at::Tensor wide = at::replication_pad2d(image.to(at::kDouble).unsqueeze(1), {radius, radius, radius, radius});
  const at::Tensor smooth = at::conv2d(at::conv2d(wide, kernel.view({1, 1, 1, -1})), kernel.view({1, 1, -1, 1}));
  const at::Tensor padded = at::replication_pad2d(smooth, {1, 1, 1, 1}).squeeze(1);
  const at::Tensor dx = padded.index({Slice(), Slice(1, -1), Slice(2)}) - padded.index({Slice(), Slice(1, -1), Slice(0, -2)});
  const at::Tensor dy = padded.index({Slice(), Slice(2), Slice(1, -1)}) - padded.index({Slice(), Slice(0, -2), Slice(1, -1)});
  const at::Tensor g = ((dx * dx + dy * dy).sqrt() / 2).amax(0);
  return 1 - 2 * (g / (g.flatten().quantile(0.96) + 0.03)).clamp_max(1);
}

at::Tensor pictures(int64_t count, int64_t height, int64_t width) {
  torch::manual_seed(4);
  return at::randint(0, 256, {count, 3, height, width}, at::kByte);
}

TEST(StructureMap, IsItsFormulaForEachSigma) {
  const at::Tensor images = pictures(4, 19, 27), sigmas = at::tensor({0.3F, 1.0F, 1.7F, 6.0F});
  const at::Tensor maps = structure_map(images, sigmas);
  EXPECT_EQ(maps.sizes(), (std::vector<int64_t>{4, 1, 19, 27}));
  for (int64_t i = 0; i < 4; ++i) {
    const at::Tensor expected = by_formula(images[i].to(at::kDouble) / 255, sigmas[i].item<float>());
    EXPECT_LT((maps[i][0] - expected).abs().max().item<double>(), 2e-5) << "sigma " << sigmas[i].item<float>();
  }
}

// The pictures' sizes put them at every offset to the processor's vectors.
TEST(StructureMap, IsTheSameBitsAloneOrInABatchWithAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  for (const int64_t side : {16, 61, 160}) {
    const at::Tensor images = pictures(5, side, side + 5), sigmas = at::tensor({0.5F, 3.0F, 1.0F, 0.7F, 1.3F});
    at::set_num_threads(1);
    const at::Tensor expected = structure_map(images, sigmas);
    for (const int threads : {1, 3}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(at::equal(structure_map(images, sigmas), expected)) << threads << " threads";
      for (int64_t i = 0; i < 5; ++i)
        EXPECT_TRUE(at::equal(structure_map(images.narrow(0, i, 1), sigmas.narrow(0, i, 1))[0], expected[i])) << threads << " threads, image " << i;
    }
  }
  at::set_num_threads(before);
}

TEST(StructureMap, TakesBytesAndFloatsAlike) {
  const at::Tensor images = pictures(2, 20, 20), sigmas = at::tensor({1.0F, 2.0F});
  EXPECT_TRUE(at::allclose(structure_map(images.to(at::kFloat) / 127.5 - 1, sigmas), structure_map(images, sigmas), 1e-4, 1e-5));
}

TEST(StructureMap, FaintLinesAreAsDarkAsStrongOnesAndEmptyPagesStayWhite) {
  at::Tensor images = at::full({3, 3, 32, 32}, 128, at::kByte);
  images[0].slice(1, 8, 24).slice(2, 8, 24).fill_(255);
  images[1].slice(1, 8, 24).slice(2, 8, 24).fill_(200);
  const at::Tensor maps = structure_map(images, at::full({3}, 0.8F));
  EXPECT_NEAR(maps[0][0][8][16].item<float>(), maps[1][0][8][16].item<float>(), 0.35);
  EXPECT_LT(maps[1][0][8][16].item<float>(), -0.5);
  EXPECT_EQ(maps[2].min().item<float>(), 1);
  EXPECT_EQ(structure_map(at::full({1, 1, 1, 1}, 9, at::kByte), at::ones({1})).item<float>(), 1) << "one pixel";
}

TEST(StructureMap, WhatMakesNoSenseIsAUsageError) {
  EXPECT_ERROR(structure_map(pictures(2, 8, 8), at::ones({3})), core::UsageError, "2 sigmas, one per image, got [3]");
  EXPECT_ERROR(structure_map(pictures(1, 8, 8), at::zeros({1})), core::UsageError, "sigma is 0");
  EXPECT_ERROR(structure_map(pictures(1, 8, 8), at::full({1}, NAN)), core::UsageError, "sigma is nan");
  EXPECT_ERROR(structure_map(pictures(1, 8, 8)[0], at::ones({1})), core::UsageError, "got Byte [3, 8, 8]");
}

}  // namespace
}  // namespace syncdr::diffusion::structure_map_tests
