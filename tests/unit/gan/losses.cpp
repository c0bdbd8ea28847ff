#include <gtest/gtest.h>

#include <cmath>

#include "syncdr/gan/cut.h"

namespace syncdr::gan {
namespace {

at::Tensor unit_rows(std::vector<int64_t> shape) {
  const at::Tensor values = at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(3));
  return values / values.norm(2, -1, true);
}

TEST(PatchNce, IsTheLogarithmOfThePatchesWhenAllAreAlike) {
  const at::Tensor same = at::ones({2, 8, 4}) / 2;
  EXPECT_NEAR(patch_nce(same, same).item<double>(), std::log(8.0), 1e-6);
}

TEST(PatchNce, IsNearZeroWhenEachPatchMatchesItsOwnAlone) {
  const at::Tensor own = at::eye(6).expand({3, 6, 6});
  EXPECT_LT(patch_nce(own, own).item<double>(), 1e-4);
  EXPECT_GT(patch_nce(own, own.roll(1, 1)).item<double>(), 10);
}

TEST(PatchNce, ComparesWithPatchesOfTheSameImageOnly) {
  const at::Tensor query = unit_rows({2, 5, 4}), key = unit_rows({2, 5, 4});
  const auto one = [&](int64_t image) { return patch_nce(query.narrow(0, image, 1), key.narrow(0, image, 1)).item<double>(); };
  EXPECT_NEAR(patch_nce(query, key).item<double>(), (one(0) + one(1)) / 2, 1e-5);
}

TEST(PatchNce, SendsNoGradientIntoTheKey) {
  const at::Tensor query = unit_rows({1, 5, 4}).requires_grad_(), key = unit_rows({1, 5, 4}).requires_grad_();
  patch_nce(query, key).backward();
  EXPECT_GT(query.grad().abs().max().item<float>(), 0);
  EXPECT_FALSE(key.grad().defined());
}

TEST(PatchProjection, GivesUnitRowsOfTheChosenPatches) {
  PatchProjection heads(std::vector<int64_t>{3, 4}, 6);
  const at::Tensor first = at::randn({2, 3, 4, 4}), second = at::randn({2, 4, 2, 2});
  const at::Tensor places = at::tensor({5, 0, 9}, at::kLong), corner = at::tensor({3}, at::kLong);
  const auto rows = heads->forward({first, second}, {places, corner});
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].sizes(), (std::vector<int64_t>{2, 3, 6}));
  EXPECT_EQ(rows[1].sizes(), (std::vector<int64_t>{2, 1, 6}));
  EXPECT_TRUE(at::allclose(rows[0].norm(2, -1), at::ones({2, 3})));
  // Place 5 of a 4x4 feature is row 1, column 1: what lies elsewhere does not matter, nor does the layout in memory.
  at::Tensor elsewhere = at::zeros_like(first);
  elsewhere.select(2, 1).select(2, 1).copy_(first.select(2, 1).select(2, 1));
  const auto again = heads->forward({elsewhere.contiguous(at::MemoryFormat::ChannelsLast), second}, {places.narrow(0, 0, 1), corner});
  EXPECT_TRUE(at::allclose(again[0].select(1, 0), rows[0].select(1, 0), 1e-5, 1e-6));
}

TEST(Lsgan, IsTheSquaredDistanceToOneOrZero) {
  const at::Tensor scores = at::tensor({0.f, 3.f});
  EXPECT_DOUBLE_EQ(lsgan(scores, true).item<double>(), 2.5);
  EXPECT_DOUBLE_EQ(lsgan(scores, false).item<double>(), 4.5);
}

}  // namespace
}  // namespace syncdr::gan
