#include "syncdr/kernels/search.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sort.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <limits>

namespace syncdr::kernels {
namespace {

struct Search : testing::Test {
  void SetUp() override {
    if (!search_takes()) GTEST_SKIP() << "not on this processor";
    torch::manual_seed(1);
  }
};

at::Tensor scores_of(const at::Tensor& rows, const at::Tensor& others) {
  const at::Tensor scores = at::empty({rows.size(0), others.size(0)});
  scores_into(scores, packed_rows(rows), others);
  return scores;
}

// Whole numbers, whose products are exact: many scores are equal.
at::Tensor whole(int64_t rows, int64_t depth) { return at::randint(-2, 3, {rows, depth}).to(at::kFloat); }

TEST_F(Search, ScoresAreInnerProductsForAnyShape) {
  for (const int64_t rows : {1, 31, 32, 33, 70})
    for (const int64_t depth : {1, 7, 512})
      for (const int64_t others : {1, 5, 13, 211}) {
        const at::Tensor a = at::randn({rows, depth}), b = at::randn({others, depth});
        const at::Tensor error = scores_of(a, b).to(at::kDouble) - at::mm(a.to(at::kDouble), b.to(at::kDouble).t());
        EXPECT_LT(error.abs().max().item<double>(), 1e-6 * static_cast<double>(depth)) << rows << " " << depth << " " << others;
      }
}

TEST_F(Search, AScoreDependsOnItsTwoRowsAlone) {
  const at::Tensor a = at::randn({77, 300}), b = at::randn({130, 300}), all = scores_of(a, b);
  for (const int64_t row : {0, 31, 32, 76})
    for (const int64_t other : {0, 11, 12, 95, 96, 129})
      EXPECT_EQ(scores_of(a.narrow(0, row, 1), b.narrow(0, other, 1)).item<float>(), all[row][other].item<float>()) << row << " " << other;
  BestColumns best(77, 130);
  best.offer(packed_rows(a), b, 0);
  const at::Tensor scores = at::empty({77, 130}), columns = at::empty({77, 130}, at::kLong);
  best.in_order(scores, columns);
  EXPECT_TRUE(at::equal(scores, all.gather(1, columns)));
}

TEST_F(Search, TheBestInPiecesOfSeveralAreThoseOfAFullSort) {
  const at::Tensor a = whole(45, 3), b = whole(400, 3), packed = packed_rows(a);
  const auto [sorted, order] = at::sort(at::mm(a, b.t()), /*stable=*/true, 1, /*descending=*/true);
  for (const int64_t k : {1, 15, 64, 130}) {
    BestColumns best(45, k), other = best.next();
    best.offer(packed, b.narrow(0, 0, 50), 0);
    best.offer(packed, b.narrow(0, 50, 101), 50);
    BestColumns after = best.next();
    other.offer(packed, b.narrow(0, 151, 149), 151);
    after.offer(packed, b.narrow(0, 300, 100), 300);
    best.merge(after);
    best.merge(other);
    const at::Tensor scores = at::empty({45, k}), columns = at::empty({45, k}, at::kLong);
    best.in_order(scores, columns);
    EXPECT_TRUE(at::equal(columns, order.narrow(1, 0, k))) << k;
    EXPECT_TRUE(at::equal(scores, sorted.narrow(1, 0, k))) << k;
    EXPECT_TRUE(best.finite());
  }
}

TEST_F(Search, ScoresThatAreNotFiniteAreNoticedWhereverTheyStand) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float broken : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()})
    for (const int64_t row : {0, 12, 110}) {
      const at::Tensor a = at::randn({3, 8}).abs(), b = at::randn({111, 8});
      BestColumns best(3, 2);
      b[row][5] = broken;
      best.offer(packed_rows(a), b, 0);
      EXPECT_FALSE(best.finite()) << broken << " " << row;
    }
}

}  // namespace
}  // namespace syncdr::kernels
