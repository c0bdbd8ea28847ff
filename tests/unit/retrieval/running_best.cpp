#include "syncdr/retrieval/running_best.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <limits>

namespace syncdr::retrieval {
namespace {

void expect_best(const RunningBest::Result& found, const at::Tensor& scores, int64_t k) {
  const auto [sorted, order] = at::sort(scores, /*stable=*/true, 1, /*descending=*/true);
  EXPECT_TRUE(found.columns.equal(order.narrow(1, 0, k)));
  EXPECT_TRUE(found.scores.equal(sorted.narrow(1, 0, k)));
}

/// Offered in pieces of so many columns.
RunningBest::Result offered(RunningBest best, const at::Tensor& scores, int64_t piece) {
  for (int64_t first = 0; first < scores.size(1); first += piece) best.offer(scores.slice(1, first, first + piece), first);
  return best.in_order();
}

// Few different scores, so that there are ties at every border; buffers are cut many times where k is small.
TEST(RunningBest, IsThatOfAStableSortWhateverThePieces) {
  at::manual_seed(5);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    for (const int64_t values : {3, 40, 1'000'000}) {
      const at::Tensor scores = at::randint(-values, values, {8, 3000}).to(type);
      for (const int64_t k : {1, 15, 700, 3000}) {
        for (const int64_t piece : {10, 1024, 3000}) {
          SCOPED_TRACE(testing::Message() << values << " values, k " << k << ", pieces of " << piece);
          expect_best(offered(RunningBest(8, k, scores.options()), scores, piece), scores, k);
          if (type == at::kFloat && piece > 10) expect_best(offered(RunningBest(8, k, scores.options(), /*by_keys=*/true), scores, piece), scores, k);
        }
      }
    }
  }
}

TEST(RunningBest, OfRisingAndOfFallingScores) {
  const at::Tensor rising = at::arange(4000, at::kFloat).view({1, -1}), falling = rising.neg();
  for (const at::Tensor& scores : {rising, falling}) {
    for (const bool by_keys : {false, true}) expect_best(offered(RunningBest(1, 100, scores.options(), by_keys), scores, 512), scores, 100);
  }
}

TEST(RunningBest, TakesZeroAndMinusZeroForEqual) {
  const at::Tensor scores = at::tensor({-0.0f, 0.0f, -1.0f}).view({1, 3});
  for (const bool by_keys : {false, true}) {
    EXPECT_TRUE(offered(RunningBest(1, 2, scores.options(), by_keys), scores, 3).columns.equal(at::tensor({0, 1}, at::kLong).view({1, 2})));
  }
}

TEST(RunningBest, ColumnsAtTheEndOf32BitsComeBack) {
  const at::Tensor scores = at::tensor({-1.5f, -1.5f, -2.0f}).view({1, 3});
  const int64_t first = (int64_t{1} << 32) - 3;
  for (const bool by_keys : {false, true}) {
    RunningBest best(1, 2, scores.options(), by_keys);
    best.offer(scores, first);
    EXPECT_TRUE(best.in_order().columns.equal(at::tensor(std::vector<int64_t>{first, first + 1}).view({1, 2})));
  }
}

TEST(RunningBest, PassesOverWhatIsNotANumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor scores = at::tensor({nan, 2.0f, nan, 1.0f}).view({1, 4});
  for (const bool by_keys : {false, true}) {
    const auto found = offered(RunningBest(1, 3, scores.options(), by_keys), scores, 4);
    EXPECT_TRUE(found.columns.narrow(1, 0, 2).equal(at::tensor({1, 3}, at::kLong).view({1, 2})));
    EXPECT_EQ(found.scores[0][2].item<float>(), -std::numeric_limits<float>::infinity());
  }
}

}  // namespace
}  // namespace syncdr::retrieval
