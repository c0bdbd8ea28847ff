#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

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

// Calls with(order) for all orders of six rows.
void each_order(const std::function<void(const at::Tensor&)>& with) {
  std::vector<int64_t> order{0, 1, 2, 3, 4, 5};
  do with(longs(order));
  while (std::next_permutation(order.begin(), order.end()));
}

// Few values of few features: scores are equal all the time.
struct Tied {
  explicit Tied(int64_t rows) {
    at::manual_seed(4);
    queries = at::randint(-1, 2, {40, 2}).to(at::kFloat);
    gallery = at::randint(-1, 2, {rows, 2}).to(at::kFloat);
    query_labels = at::randint(0, 4, {40}, at::kLong);
    gallery_labels = at::randint(0, 3, {rows}, at::kLong);
  }
  at::Tensor queries, gallery, query_labels, gallery_labels;
};

TEST(MeanAveragePrecision, IsTheMeanOverAllOrdersOfEqualScores) {
  const Tied tied(6);
  double sum = 0;
  each_order([&](const at::Tensor& order) {
    sum += slow_mean_average_precision(tied.queries, tied.gallery.index_select(0, order), tied.query_labels, tied.gallery_labels.index_select(0, order));
  });
  EXPECT_NEAR(mean_average_precision(tied.queries, tied.gallery, tied.query_labels, tied.gallery_labels), sum / 720, 1e-12);
}

TEST(MeanAveragePrecision, EqualsBruteForceWhereNoScoresAreEqual) {
  at::manual_seed(4);
  const auto queries = at::randn({300, 3}), gallery = at::randn({61, 3});
  const auto query_labels = at::randint(0, 9, {300}, at::kLong), gallery_labels = at::randint(0, 7, {61}, at::kLong);
  EXPECT_NEAR(mean_average_precision(queries, gallery, query_labels, gallery_labels),
              slow_mean_average_precision(queries, gallery, query_labels, gallery_labels), 1e-12);
}

TEST(HitsWithTies, AreTheMeanOverAllOrdersOfTheGallery) {
  const Tied tied(6);
  const std::vector<int64_t> cutoffs{1, 2, 15};
  std::vector<std::vector<double>> sums(cutoffs.size(), std::vector<double>(40));
  each_order([&](const at::Tensor& order) {
    const auto labels = tied.gallery_labels.index_select(0, order);
    const auto found = top_k(tied.queries, tied.gallery.index_select(0, order), 15);
    for (size_t c = 0; c < cutoffs.size(); ++c) {
      const auto hits = hits_at(found, tied.query_labels, labels, cutoffs[c]).hits;
      for (size_t q = 0; q < hits.size(); ++q) sums[c][q] += hits[q].correct;
    }
  });
  const auto all = hits_with_ties(tied.queries, tied.gallery, top_k(tied.queries, tied.gallery, 16), tied.query_labels, tied.gallery_labels, cutoffs);
  for (size_t c = 0; c < cutoffs.size(); ++c)
    for (size_t q = 0; q < all[c].hits.size(); ++q) EXPECT_NEAR(all[c].hits[q].correct, sums[c][q] / 720, 1e-12) << "k = " << cutoffs[c] << ", query " << q;
}

TEST(HitsWithTies, AnEncoderThatHasCollapsedFindsWhatChanceFinds) {
  const auto labels = longs({0, 0, 0, 1, 2}).repeat({40});  // sorted galleries flatter such an encoder: 60 % of the first rows
  const auto features = at::ones({200, 3});
  const std::vector<int64_t> first{1};
  const auto hits = hits_with_ties(features, features, top_k(features, features, 2, /*tile=*/64), labels, labels, first);
  EXPECT_NEAR(share_correct(hits, Unit::queries, 0, 0).value, 3.0 / 5 * 3 / 5 + 2.0 / 5 / 5, 1e-12);
}

TEST(CountEqual, EqualsBruteForce) {
  const Tied tied(333);
  const auto scores = at::mm(tied.queries, tied.gallery.t());
  const auto wanted = scores.narrow(1, 7, 3).contiguous();
  const auto found = count_equal(tied.queries, tied.gallery, wanted, tied.query_labels, tied.gallery_labels, /*tile=*/100);
  const auto same = tied.query_labels.unsqueeze(1).eq(tied.gallery_labels.unsqueeze(0));
  for (int64_t c = 0; c < 3; ++c) {
    const auto equal = scores.eq(wanted.narrow(1, c, 1));
    EXPECT_TRUE(found.all.select(1, c).equal(equal.sum(1)));
    EXPECT_TRUE(found.labelled.select(1, c).equal(equal.logical_and(same).sum(1)));
  }
}

TEST(MeanAveragePrecision, NoSharedCategoryIsBadData) {
  EXPECT_THROW(mean_average_precision(at::ones({1, 2}), at::ones({3, 2}), longs({5}), longs({0, 1, 2})), core::DataError);
}

}  // namespace
}  // namespace syncdr::evaluation
