#include "syncdr/evaluation/unlabelled.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>

#include "syncdr/nn/unit_rows.h"

namespace syncdr::evaluation {
namespace {

at::Tensor features(int64_t rows, int64_t width, uint64_t seed) {
  at::manual_seed(seed);
  return nn::unit_rows(at::randn({rows, width}));
}

double squared_distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).to(at::kDouble).square().sum().item<double>(); }

TEST(Alignment, IsTheMeanSquaredDistanceOfPairs) {
  const auto a = features(40, 5, 1), b = features(40, 5, 2);
  double sum = 0;
  for (int64_t row = 0; row < 40; ++row) sum += squared_distance(a[row], b[row]);
  EXPECT_NEAR(alignment(a, b), sum / 40, 1e-6);
  EXPECT_EQ(alignment(a, a), 0);
  EXPECT_TRUE(std::isnan(alignment(a.narrow(0, 0, 0), a.narrow(0, 0, 0))));
}

TEST(Uniformity, EqualsBruteForceAcrossTiles) {
  for (const int64_t rows : {2, 512, 513, 1100}) {
    const auto x = features(rows, 6, 3);
    double sum = 0;
    const auto distances = at::cdist(x.to(at::kDouble), x.to(at::kDouble)).square();
    const auto d = distances.accessor<double, 2>();
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < i; ++j) sum += std::exp(-2 * d[i][j]);
    EXPECT_NEAR(uniformity(x), std::log(2 * sum / static_cast<double>(rows * (rows - 1))), 1e-5) << rows;
  }
}

TEST(Uniformity, IsZeroWhereAllFeaturesAreOneAndMinusFourWhereTheyStandAtRightAngles) {
  EXPECT_NEAR(uniformity(nn::unit_rows(at::ones({700, 3}))), 0, 1e-5);
  EXPECT_NEAR(uniformity(at::eye(600)), -4, 1e-6);
  EXPECT_EQ(uniformity(at::ones({1, 3})), 0);
}

TEST(Uniformity, HasTheSameBitsForAnyNumberOfThreads) {
  const auto x = features(1500, 16, 4);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const double one = uniformity(x);
  at::set_num_threads(2);
  EXPECT_EQ(uniformity(x), one);
  at::set_num_threads(before);
}

// For each query, whether it is among the nearest of its nearest; ties go to the smaller row.
int64_t nearest(const at::Tensor& query, const at::Tensor& gallery) {
  int64_t best = 0;
  double score = -1e9;
  for (int64_t row = 0; row < gallery.size(0); ++row) {
    const double s = (query * gallery[row]).sum().item<double>();
    if (s > score) score = s, best = row;
  }
  return best;
}

TEST(MutualShare, EqualsBruteForceWithTiesAndUnequalSizes) {
  at::manual_seed(5);
  const auto a = at::randint(-2, 3, {23, 3}).to(at::kFloat), b = at::randint(-2, 3, {40, 3}).to(at::kFloat);
  int64_t mutual = 0;
  for (int64_t row = 0; row < 23; ++row) mutual += nearest(b[nearest(a[row], b)], a) == row;
  for (int64_t row = 0; row < 40; ++row) mutual += nearest(a[nearest(b[row], a)], b) == row;
  EXPECT_GT(mutual, 0);
  EXPECT_DOUBLE_EQ(mutual_share(top_k(a, b, 1), top_k(b, a, 1)), static_cast<double>(mutual) / 63);
}

TEST(MutualShare, OfADomainWithItselfIsOne) {
  const auto x = features(50, 8, 6);
  EXPECT_DOUBLE_EQ(mutual_share(top_k(x, x, 3), top_k(x, x, 3)), 1);
}

}  // namespace
}  // namespace syncdr::evaluation
