#include "syncdr/evaluation/tsne.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>

#include "syncdr/core/error.h"

namespace syncdr::evaluation {
namespace {

// Three groups of 20 far apart in 8 dimensions.
at::Tensor groups() {
  at::manual_seed(3);
  std::vector<at::Tensor> parts;
  for (int64_t group = 0; group < 3; ++group) {
    auto part = at::randn({20, 8});
    part.select(1, group) += 12;
    parts.push_back(part);
  }
  return at::cat(parts);
}

TEST(Tsne, KeepsGroupsApartAndTogether) {
  const auto [places, divergence] = tsne(groups(), 10, 500);
  ASSERT_EQ(places.sizes(), (std::vector<int64_t>{60, 2}));
  const auto distance = (places.unsqueeze(0) - places.unsqueeze(1)).norm(2, 2).fill_diagonal_(std::numeric_limits<float>::infinity());
  const auto group = at::arange(60).div(20, "floor");
  EXPECT_TRUE(group.equal(group.index_select(0, distance.argmin(1)))) << "each point's nearest is of its own group";
  EXPECT_GT(divergence, 0);
  EXPECT_LT(divergence, 1);
}

TEST(Tsne, IsTheSameForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  const auto features = groups();
  const auto one = tsne(features, 10, 60).places;
  at::set_num_threads(before == 1 ? 2 : 1);
  EXPECT_TRUE(tsne(features, 10, 60).places.equal(one));
  at::set_num_threads(before);
}

TEST(Tsne, EqualFeaturesAndFewPointsHaveFinitePlaces) {
  EXPECT_TRUE(tsne(at::full({12, 5}, 0.5f), 30, 20).places.isfinite().all().item<bool>());
  EXPECT_TRUE(tsne(at::randn({4, 1}), 30, 20).places.isfinite().all().item<bool>());
}

TEST(Tsne, RefusesTooFewPointsAndWhatIsNotFinite) {
  EXPECT_THROW(tsne(at::zeros({3, 2})), core::UsageError);
  EXPECT_THROW(tsne(at::full({9, 2}, std::numeric_limits<float>::quiet_NaN())), core::DataError);
}

}  // namespace
}  // namespace syncdr::evaluation
