#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "syncdr/core/error.h"
#include "syncdr/evaluation/bootstrap.h"

namespace syncdr::evaluation {
namespace {

at::Tensor longs(std::vector<int64_t> values) { return at::tensor(values, at::kLong); }

Neighbours neighbours_of(const at::Tensor& rows) { return {at::zeros(rows.sizes()), rows}; }

double precision_at(const Neighbours& found, const at::Tensor& queries, const at::Tensor& gallery, int64_t k) {
  const auto hits = hits_at(found, queries, gallery, k);
  return share_correct({&hits, 1}, Unit::queries, 0, 0).value;
}

// Gallery: labels 0 0 0 1 2. Queries: labels 0, 1, and 9, which the gallery lacks.
const std::vector<int64_t> gallery_of_five{0, 0, 0, 1, 2};

TEST(PrecisionAt, FollowsThePaperByHand) {
  const auto found = neighbours_of(longs({0, 3, 1, 2, 4, /**/ 4, 3, 0, 1, 2, /**/ 0, 1, 2, 3, 4}).view({3, 5}));
  const auto queries = longs({0, 1, 9}), gallery = longs(gallery_of_five);
  // k = 1: query 0 right (of 1), query 1 wrong (of 1); query 9 does not count.
  EXPECT_DOUBLE_EQ(precision_at(found, queries, gallery, 1), 1.0 / 2);
  // k = 2: query 0: rows 0 and 3 -> 1 of 2; query 1: k' = 1, row 4 -> 0 of 1.
  EXPECT_DOUBLE_EQ(precision_at(found, queries, gallery, 2), 1.0 / 3);
  // k = 5: query 0: k' = 3, rows 0, 3, 1 -> 2 of 3; query 1: 0 of 1. Row 3 in second place must not count.
  EXPECT_DOUBLE_EQ(precision_at(found, queries, gallery, 5), 2.0 / 4);
}

TEST(PrecisionAt, KBeyondTheGalleryIsCutToTheCategory) {
  const auto found = neighbours_of(longs({0, 1, 2, 3, 4}).view({1, 5}));
  EXPECT_DOUBLE_EQ(precision_at(found, longs({0}), longs(gallery_of_five), 100), 1.0);
}

TEST(HitsAt, KeepsQueriesApartAndLeavesThoseWithoutACategoryOut) {
  const auto found = neighbours_of(longs({0, 3, /**/ 0, 1, /**/ 4, 3}).view({3, 2}));
  const auto hits = hits_at(found, longs({0, 9, 1}), longs(gallery_of_five), 2);
  EXPECT_EQ(hits.categories, (std::vector<int32_t>{0, 1}));
  ASSERT_EQ(hits.hits.size(), 2u);
  EXPECT_EQ(hits.hits[0].correct, 1);
  EXPECT_EQ(hits.hits[0].possible, 2);
  EXPECT_EQ(hits.hits[1].correct, 0);
  EXPECT_EQ(hits.hits[1].possible, 1);
}

TEST(PrecisionAt, TooFewNeighboursAreABug) {
  const auto found = neighbours_of(longs({0, 1}).view({1, 2}));
  EXPECT_THROW(precision_at(found, longs({0}), longs(gallery_of_five), 3), core::BugError);
}

TEST(PrecisionAt, NoSharedCategoryIsBadData) {
  const auto found = neighbours_of(longs({0, 1, 2}).view({3, 1}));
  EXPECT_THROW(precision_at(found, longs({7, 8, 9}), longs(gallery_of_five), 1), core::DataError);
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
