#include "syncdr/evaluation/metrics.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "syncdr/core/error.h"
#include "syncdr/evaluation/bootstrap.h"

namespace syncdr::evaluation {
namespace {

const Measure average_precision(Measure::Kind::average_precision, 0);
Measure recall_at(int64_t k) { return {Measure::Kind::recall, k}; }

at::Tensor longs(std::vector<int64_t> values) { return at::tensor(values, at::kLong); }

/// Queries that find the rows of an identity matrix in these orders, [Q, N] int64.
at::Tensor queries_that_find(const at::Tensor& orders) {
  const auto scores = at::arange(orders.size(1), 0, -1).to(at::kFloat).expand(orders.sizes());
  return at::zeros(orders.sizes()).scatter_(1, orders, scores);
}

double figure(const Measure& measured, const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels) {
  const auto hits = measure(queries, gallery, query_labels, gallery_labels, {&measured, 1}, 1).hits.at(measured);
  return share_correct({&hits, 1}, Unit::queries, 0, 0).value;
}

double figure_of_orders(const Measure& measured, const at::Tensor& orders, const at::Tensor& query_labels, const at::Tensor& gallery_labels) {
  return figure(measured, queries_that_find(orders), at::eye(orders.size(1)), query_labels, gallery_labels);
}

// Gallery: labels 0 0 0 1 2. Queries: labels 0, 1, and 9, which the gallery lacks.
const std::vector<int64_t> gallery_of_five{0, 0, 0, 1, 2};

TEST(Measure, IsNamedAsInMetricsJsonAndInTables) {
  EXPECT_EQ(name_of(Measure(5)) + name_of(recall_at(10)) + name_of(average_precision), "prec@5recall@10map");
  EXPECT_EQ(title_of(Measure(5)) + title_of(recall_at(10)) + title_of(average_precision), "Prec@5Recall@10mAP@All");
}

TEST(Precision, FollowsThePaperByHand) {
  const auto orders = longs({0, 3, 1, 2, 4, /**/ 4, 3, 0, 1, 2, /**/ 0, 1, 2, 3, 4}).view({3, 5});
  const auto queries = longs({0, 1, 9}), gallery = longs(gallery_of_five);
  // k = 1: query 0 right (of 1), query 1 wrong (of 1); query 9 does not count.
  EXPECT_DOUBLE_EQ(figure_of_orders(1, orders, queries, gallery), 1.0 / 2);
  // k = 2: query 0: rows 0 and 3 -> 1 of 2; query 1: k' = 1, row 4 -> 0 of 1.
  EXPECT_DOUBLE_EQ(figure_of_orders(2, orders, queries, gallery), 1.0 / 3);
  // k = 5: query 0: k' = 3, rows 0, 3, 1 -> 2 of 3; query 1: 0 of 1. Row 3 in second place must not count.
  EXPECT_DOUBLE_EQ(figure_of_orders(5, orders, queries, gallery), 2.0 / 4);
  // Beyond the gallery k is cut to the category.
  EXPECT_DOUBLE_EQ(figure_of_orders(100, orders, queries, gallery), 2.0 / 4);
}

TEST(Recall, CountsQueriesWithARightOneAmongTheFirstK) {
  const auto orders = longs({3, 0, 1, 2, 4, /**/ 4, 0, 1, 3, 2, /**/ 0, 1, 2, 3, 4}).view({3, 5});
  const auto queries = longs({0, 1, 9}), gallery = longs(gallery_of_five);
  EXPECT_DOUBLE_EQ(figure_of_orders(recall_at(1), orders, queries, gallery), 0);
  EXPECT_DOUBLE_EQ(figure_of_orders(recall_at(2), orders, queries, gallery), 1.0 / 2);
  EXPECT_DOUBLE_EQ(figure_of_orders(recall_at(3), orders, queries, gallery), 1.0 / 2) << "k is not cut to the category";
  EXPECT_DOUBLE_EQ(figure_of_orders(recall_at(4), orders, queries, gallery), 1);
  EXPECT_DOUBLE_EQ(figure_of_orders(recall_at(100), orders, queries, gallery), 1);
}

TEST(AveragePrecision, FollowsTheDefinitionByHand) {
  // Right ones at ranks 1 and 3: precision there is 1/1 and 2/3.
  EXPECT_DOUBLE_EQ(figure_of_orders(average_precision, longs({0, 1, 2}).view({1, 3}), longs({0}), longs({0, 1, 0})), (1.0 + 2.0 / 3) / 2);
}

TEST(Hits, KeepQueriesApartAndLeaveThoseWithoutACategoryOut) {
  const auto orders = longs({0, 3, 1, 2, 4, /**/ 0, 1, 2, 3, 4, /**/ 4, 3, 2, 1, 0}).view({3, 5});
  const Measure two(2);
  const auto found = measure(queries_that_find(orders), at::eye(5), longs({0, 9, 1}), longs(gallery_of_five), {&two, 1}, 3);
  const auto& hits = found.hits.at(two);
  EXPECT_EQ(hits.categories, (std::vector<int32_t>{0, 1}));
  ASSERT_EQ(hits.hits.size(), 2u);
  EXPECT_EQ(hits.hits[0].correct, 1);
  EXPECT_EQ(hits.hits[0].possible, 2);
  EXPECT_EQ(hits.hits[1].correct, 0);
  EXPECT_EQ(hits.hits[1].possible, 1);
  EXPECT_TRUE(at::equal(found.nearest, orders.narrow(1, 0, 3))) << "of every query, whatever its category";
}

TEST(Measuring, WithoutASharedCategoryIsBadData) {
  EXPECT_THROW(figure(1, at::ones({1, 2}), at::ones({3, 2}), longs({5}), longs({0, 1, 2})), core::DataError);
  EXPECT_THROW(figure(average_precision, at::ones({1, 2}), at::ones({0, 2}), longs({5}), longs({})), core::DataError);
}

/// The figure of one query whose gallery stands in this order, plainly.
double plainly(const Measure& measured, const std::vector<int64_t>& labels, int64_t label) {
  const auto relevant = std::ranges::count(labels, label);
  double right = 0, precision = 0;
  const int64_t places = std::min<int64_t>(std::ssize(labels), measured.kind == Measure::Kind::average_precision ? std::ssize(labels)
                                                               : measured.kind == Measure::Kind::precision       ? std::min(measured.k, relevant)
                                                                                                                 : measured.k);
  for (int64_t i = 0; i < places; ++i) {
    if (labels[static_cast<size_t>(i)] != label) continue;
    ++right;
    precision += right / static_cast<double>(i + 1);
  }
  if (measured.kind == Measure::Kind::average_precision) return precision / static_cast<double>(relevant);
  return measured.kind == Measure::Kind::precision ? right : std::min(right, 1.0);
}

const std::vector<Measure> several{1, 2, 3, 15, recall_at(1), recall_at(2), recall_at(4), average_precision};

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

TEST(Measuring, IsTheMeanOverAllOrdersOfEqualScores) {
  const Tied tied(6);
  const auto scores = at::mm(tied.queries, tied.gallery.t());
  const auto found = measure(tied.queries, tied.gallery, tied.query_labels, tied.gallery_labels, several, /*kept=*/1);
  const auto score = scores.accessor<float, 2>();
  const auto labels = tied.gallery_labels.accessor<int64_t, 1>(), query_labels = tied.query_labels.accessor<int64_t, 1>();
  for (const Measure& measured : several) {
    size_t place = 0;
    for (int64_t q = 0; q < 40; ++q) {
      if (!tied.gallery_labels.eq(query_labels[q]).any().item<bool>()) continue;
      std::vector<int64_t> order{0, 1, 2, 3, 4, 5};
      double sum = 0;
      do {
        std::vector<int64_t> ranked = order;
        std::ranges::stable_sort(ranked, [&](int64_t a, int64_t b) { return score[q][a] > score[q][b]; });
        for (int64_t& row : ranked) row = labels[row];
        sum += plainly(measured, ranked, query_labels[q]);
      } while (std::next_permutation(order.begin(), order.end()));
      EXPECT_NEAR(found.hits.at(measured).hits[place++].correct, sum / 720, 1e-12) << name_of(measured) << ", query " << q;
    }
  }
}

// 300 queries are three tiles; 5,003 rows three pieces, of which the last is short. A few scores are equal by chance.
TEST(Measuring, EqualsAPlainRankingOverTilesAndPieces) {
  at::manual_seed(4);
  const auto queries = at::randn({300, 3}), gallery = at::randn({5003, 3});
  const auto query_labels = at::randint(0, 9, {300}, at::kLong), gallery_labels = at::randint(0, 49, {5003}, at::kLong).sqrt().to(at::kLong);  // unbalanced
  const std::vector<Measure> measures{1, 50, 200, recall_at(1), recall_at(10), average_precision};
  const auto found = measure(queries, gallery, query_labels, gallery_labels, measures, 15);
  const auto order = top_k(queries, gallery, 5003).indices;
  EXPECT_TRUE(at::equal(found.nearest, order.narrow(1, 0, 15)));
  const auto ranked = gallery_labels.index_select(0, order.flatten()).view({300, 5003});
  size_t place = 0;
  for (int64_t q = 0; q < 300; ++q) {
    const int64_t label = query_labels[q].item<int64_t>();
    if (label > 6) continue;
    const int64_t* labels = ranked[q].const_data_ptr<int64_t>();
    const std::vector<int64_t> of_query(labels, labels + 5003);
    for (const Measure& measured : measures)
      EXPECT_NEAR(found.hits.at(measured).hits[place].correct, plainly(measured, of_query, label), 1e-6) << name_of(measured) << ", query " << q;
    ++place;
  }
  EXPECT_EQ(place, found.hits.at(average_precision).hits.size());
}

TEST(Measuring, AnEncoderThatHasCollapsedFindsWhatChanceFinds) {
  const auto labels = longs({0, 0, 0, 1, 2}).repeat({40});  // sorted galleries flatter such an encoder: 60 % of the first rows
  const auto features = at::ones({200, 3});
  EXPECT_NEAR(figure(1, features, features, labels, labels), 3.0 / 5 * 3 / 5 + 2.0 / 5 / 5, 1e-12);
  // Two of 200 rows, none of which is right with the chance 80/200 79/199 or 160/200 159/199.
  EXPECT_NEAR(figure(recall_at(2), features, features, labels, labels), 3.0 / 5 * (1 - 80.0 * 79 / 200 / 199) + 2.0 / 5 * (1 - 160.0 * 159 / 200 / 199), 1e-12);
}

}  // namespace
}  // namespace syncdr::evaluation
