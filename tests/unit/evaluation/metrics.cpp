#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <chrono>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/evaluation/metrics.h"

namespace syncdr::evaluation {
namespace {

at::Tensor longs(std::vector<int64_t> values) { return at::tensor(values, at::kLong); }

Neighbours neighbours_of(const at::Tensor& rows) { return {at::zeros(rows.sizes()), rows}; }

// Gallery: labels 0 0 0 1 2. Queries: labels 0, 1, and 9, which the gallery lacks.
const std::vector<int64_t> gallery_of_five{0, 0, 0, 1, 2};

TEST(PrecisionAt, FollowsThePaperByHand) {
  const auto found = neighbours_of(longs({0, 3, 1, 2, 4, /**/ 4, 3, 0, 1, 2, /**/ 0, 1, 2, 3, 4}).view({3, 5}));
  const auto queries = longs({0, 1, 9}), gallery = longs(gallery_of_five);
  // k = 1: query 0 right (of 1), query 1 wrong (of 1); query 9 does not count.
  EXPECT_DOUBLE_EQ(precision_at(found, queries, gallery, 1, 0).value, 1.0 / 2);
  // k = 2: query 0: rows 0 and 3 -> 1 of 2; query 1: k' = 1, row 4 -> 0 of 1.
  EXPECT_DOUBLE_EQ(precision_at(found, queries, gallery, 2, 0).value, 1.0 / 3);
  // k = 5: query 0: k' = 3, rows 0, 3, 1 -> 2 of 3; query 1: 0 of 1. Row 3 in second place must not count.
  EXPECT_DOUBLE_EQ(precision_at(found, queries, gallery, 5, 0).value, 2.0 / 4);
}

TEST(PrecisionAt, KBeyondTheGalleryIsCutToTheCategory) {
  const auto found = neighbours_of(longs({0, 1, 2, 3, 4}).view({1, 5}));
  EXPECT_DOUBLE_EQ(precision_at(found, longs({0}), longs(gallery_of_five), 100, 0).value, 1.0);
}

TEST(PrecisionAt, TooFewNeighboursAreABug) {
  const auto found = neighbours_of(longs({0, 1}).view({1, 2}));
  EXPECT_THROW(precision_at(found, longs({0}), longs(gallery_of_five), 3, 0), core::BugError);
}

TEST(PrecisionAt, NoSharedCategoryIsBadData) {
  const auto found = neighbours_of(longs({0, 1, 2}).view({3, 1}));
  EXPECT_THROW(precision_at(found, longs({7, 8, 9}), longs(gallery_of_five), 1, 0), core::DataError);
}

TEST(PrecisionAt, OneCategoryHasAnIntervalOfNoWidth) {
  const auto found = neighbours_of(longs({0, 3}).view({2, 1}));
  const auto estimate = precision_at(found, longs({0, 0}), longs(gallery_of_five), 1, 5);
  EXPECT_DOUBLE_EQ(estimate.value, 0.5);
  EXPECT_DOUBLE_EQ(estimate.low, 0.5);
  EXPECT_DOUBLE_EQ(estimate.high, 0.5);
}

TEST(PrecisionAt, IntervalIsAFunctionOfTheSeed) {
  const auto queries = at::arange(40), gallery = at::arange(40);
  const auto found = neighbours_of(at::where(at::arange(40).remainder(3).eq(0), at::arange(40), at::arange(40).add(1).remainder(40)).view({40, 1}));
  const auto one = precision_at(found, queries, gallery, 1, 11), again = precision_at(found, queries, gallery, 1, 11);
  EXPECT_EQ(one.low, again.low);
  EXPECT_EQ(one.high, again.high);
  EXPECT_LT(one.low, one.value);
  EXPECT_GT(one.high, one.value);
}

/// A world in which a category's images are all right or all wrong with probability `rate`: images of one category are not independent.
struct SimulatedStudy {
  at::Tensor queries, gallery;
  Neighbours found;
  SimulatedStudy(int64_t categories, int64_t images, double rate, uint64_t seed) {
    core::Random random(seed, core::Purpose::order);
    gallery = at::arange(categories);
    queries = at::arange(categories).repeat_interleave(images);
    std::vector<int64_t> rows;
    for (int64_t c = 0; c < categories; ++c) rows.insert(rows.end(), static_cast<size_t>(images), random.chance(rate) ? c : (c + 1) % categories);
    found = neighbours_of(longs(rows).view({categories * images, 1}));
  }
};

TEST(PrecisionAt, IntervalCoversTheTruthInAboutNineteenOfTwentyStudies) {
  constexpr double truth = 0.4;
  int covered = 0;
  constexpr int studies = 300;
  for (uint64_t study = 0; study < studies; ++study) {
    const SimulatedStudy s(80, 6, truth, study);
    const auto estimate = precision_at(s.found, s.queries, s.gallery, 1, 1000 + study, 300);
    covered += estimate.low <= truth && truth <= estimate.high;
  }
  // 95 % of 300 is 285 with a standard deviation of 4. Resampling images in place of categories would cover about 58 %.
  EXPECT_GE(covered, 0.90 * studies);
  EXPECT_LE(covered, 0.99 * studies);
}

TEST(PrecisionAt, AThousandResamplesOfTheEmojiSetTakeLessThanHalfASecond) {
  const SimulatedStudy s(1140, 2, 0.1, 3);
  const auto start = std::chrono::steady_clock::now();
  precision_at(s.found, s.queries, s.gallery, 1, 0, 1000);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 0.5);
}

TEST(MeanPrecisionAt, IsTheMeanOfBothDirectionsWithOneDrawOfCategories) {
  const SimulatedStudy one(60, 1, 0.3, 1), other(60, 1, 0.6, 2);
  const auto labels = at::arange(60);
  const auto a = precision_at(one.found, labels, labels, 1, 7), b = precision_at(other.found, labels, labels, 1, 7);
  const auto mean = mean_precision_at({{one.found, labels, labels}, {other.found, labels, labels}}, 1, 7);
  EXPECT_DOUBLE_EQ(mean.value, (a.value + b.value) / 2);
  EXPECT_LT(mean.low, mean.value);
  EXPECT_GT(mean.high, mean.value);
  // Two directions with the same outcome are no more evidence than one.
  const auto same = mean_precision_at({{one.found, labels, labels}, {one.found, labels, labels}}, 1, 7);
  EXPECT_DOUBLE_EQ(same.low, a.low);
  EXPECT_DOUBLE_EQ(same.high, a.high);
}

TEST(MeanPrecisionAt, ACategoryThatOneDomainLacksIsLeftOut) {
  const auto from_a = neighbours_of(longs({0, 1, 0}).view({3, 1})), from_b = neighbours_of(longs({0, 0}).view({2, 1}));
  // a: labels 0 1 2; b: labels 0 1. a to b: right, right, (2 does not count); b to a: right, wrong.
  const auto a = longs({0, 1, 2}), b = longs({0, 1});
  EXPECT_DOUBLE_EQ(mean_precision_at({{from_a, a, b}, {from_b, b, a}}, 1, 0).value, 0.75);
}

TEST(MeanPrecisionAt, DirectionsOfThreeDomainsNeedNotShareTheirCategories) {
  // a: labels 0 1; b: labels 1 2; c: labels 0 2. Each pair shares one category; from a all is found, from b and c nothing.
  const auto a = longs({0, 1}), b = longs({1, 2}), c = longs({0, 2});
  const auto straight = neighbours_of(longs({0, 0}).view({2, 1})), crossed = neighbours_of(longs({1, 1}).view({2, 1}));
  const std::vector<Retrieved> all{{straight, a, b}, {straight, a, c}, {straight, b, a}, {straight, b, c}, {crossed, c, a}, {straight, c, b}};
  const auto mean = mean_precision_at(all, 1, 0);
  EXPECT_DOUBLE_EQ(mean.value, 2.0 / 6);
  EXPECT_GE(mean.low, 0);
  EXPECT_LE(mean.high, 1) << "a resample without a direction's category must not count it";
}

TEST(MeanAveragePrecision, FollowsTheDefinitionByHand) {
  // One query; similarities 3, 2, 1 of labels 0, 1, 0: precision at ranks 1 and 3 is 1/1 and 2/3.
  const auto gallery = at::tensor({3.0f, 2.0f, 1.0f}).view({3, 1});
  EXPECT_DOUBLE_EQ(mean_average_precision(at::ones({1, 1}), gallery, longs({0}), longs({0, 1, 0})), (1.0 + 2.0 / 3) / 2);
}

// For each relevant row its rank is counted, not sorted: rows with a larger score, or an equal one and a smaller number, come before it.
double slow_mean_average_precision(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels) {
  const auto scores = at::mm(queries, gallery.t());
  const auto s = scores.accessor<float, 2>();
  const auto ql = query_labels.accessor<int64_t, 1>(), gl = gallery_labels.accessor<int64_t, 1>();
  double sum = 0;
  int64_t counted = 0;
  for (int64_t q = 0; q < ql.size(0); ++q) {
    double precision = 0;
    int64_t relevant = 0;
    for (int64_t i = 0; i < gl.size(0); ++i) {
      if (gl[i] != ql[q]) continue;
      int64_t before = 0, right_before = 0;
      for (int64_t j = 0; j < gl.size(0); ++j) {
        if (!(s[q][j] > s[q][i] || (s[q][j] == s[q][i] && j <= i))) continue;
        ++before;
        right_before += gl[j] == ql[q];
      }
      precision += static_cast<double>(right_before) / static_cast<double>(before);
      ++relevant;
    }
    if (relevant == 0) continue;
    sum += precision / static_cast<double>(relevant);
    ++counted;
  }
  return sum / static_cast<double>(counted);
}

TEST(MeanAveragePrecision, EqualsBruteForceWithTiesAndForeignQueries) {
  at::manual_seed(4);
  const auto queries = at::randint(-2, 3, {300, 3}).to(at::kFloat), gallery = at::randint(-2, 3, {61, 3}).to(at::kFloat);
  const auto query_labels = at::randint(0, 9, {300}, at::kLong), gallery_labels = at::randint(0, 7, {61}, at::kLong);
  EXPECT_NEAR(mean_average_precision(queries, gallery, query_labels, gallery_labels),
              slow_mean_average_precision(queries, gallery, query_labels, gallery_labels), 1e-12);
}

TEST(MeanAveragePrecision, NoSharedCategoryIsBadData) {
  EXPECT_THROW(mean_average_precision(at::ones({1, 2}), at::ones({3, 2}), longs({5}), longs({0, 1, 2})), core::DataError);
}

}  // namespace
}  // namespace syncdr::evaluation
