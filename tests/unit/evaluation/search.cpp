#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <limits>
#include <tuple>

#include "syncdr/core/error.h"
#include "tiles.h"

namespace syncdr::evaluation {
namespace {

// Small whole numbers: products and sums are exact, so equal scores are exactly equal whatever the tiling, and there are many of them.
at::Tensor whole_numbers(int64_t rows, int64_t columns) { return at::randint(-2, 3, {rows, columns}).to(at::kFloat); }

Neighbours brute_force(const at::Tensor& queries, const at::Tensor& gallery, int64_t k) {
  const auto scores = at::mm(queries, gallery.t());
  const auto [sorted, order] = at::sort(scores, /*stable=*/true, 1, /*descending=*/true);
  const int64_t kept = std::min(k, gallery.size(0));
  return {sorted.narrow(1, 0, kept), order.narrow(1, 0, kept)};
}

GallerySource source_of(const at::Tensor& gallery, int64_t chunk) {
  return {gallery.size(0), [gallery](int64_t first, int64_t last) { return gallery.narrow(0, first, last - first); }, chunk};
}

TEST(TopK, EqualsBruteForceWithTies) {
  at::manual_seed(1);
  const auto queries = whole_numbers(37, 3), gallery = whole_numbers(211, 3);
  for (const int64_t k : {1, 5, 15, 210, 211, 500}) {
    const auto found = top_k(queries, gallery, k), truth = brute_force(queries, gallery, k);
    EXPECT_TRUE(at::equal(found.indices, truth.indices)) << "k = " << k;
    EXPECT_TRUE(at::equal(found.scores, truth.scores)) << "k = " << k;
  }
}

// By the kernel, or by LibTorch's products; columns of a piece, or rows of a chunk.
class InPieces : public testing::TestWithParam<std::tuple<bool, int64_t>> {
 protected:
  void SetUp() override {
    if (by_kernel() && !kernel_takes(at::ones({1}))) GTEST_SKIP() << "not on this processor";
    at::manual_seed(1);
  }
  bool by_kernel() const { return std::get<0>(GetParam()); }
  int64_t piece() const { return std::get<1>(GetParam()); }
};

TEST_P(InPieces, TilesEqualBruteForceWithTiesAcrossThem) {
  const auto queries = whole_numbers(137, 3), gallery = whole_numbers(211, 3);
  const Tiles tiles(queries, gallery, by_kernel(), piece());
  for (const int64_t k : {1, 15, 211}) {
    const auto found = top_k_in_tiles(tiles, k), truth = brute_force(queries, gallery, k);
    EXPECT_TRUE(at::equal(found.indices, truth.indices)) << "k = " << k;
    EXPECT_TRUE(at::equal(found.scores, truth.scores)) << "k = " << k;
  }
}

TEST_P(InPieces, RankOfTheOwnRowEqualsItsPlaceInTheFullOrder) {
  const auto queries = whole_numbers(300, 3), gallery = whole_numbers(211, 3), own = at::randint(0, 211, {300}, at::kLong);
  const auto order = brute_force(queries, gallery, 211).indices;
  const auto place = order.eq(own.unsqueeze(1)).to(at::kLong).argmax(1) + 1;
  EXPECT_TRUE(at::equal(rank_in_tiles(Tiles(queries, gallery, by_kernel(), piece()), own), place));
}

TEST_P(InPieces, AGalleryThatIsReadEqualsOneInMemory) {
  const auto queries = whole_numbers(37, 3), gallery = whole_numbers(211, 3);
  for (const int64_t k : {1, 15, 500}) {
    const auto found = top_k_of(queries, source_of(gallery, piece()), k, by_kernel()), truth = brute_force(queries, gallery, k);
    EXPECT_TRUE(at::equal(found.indices, truth.indices)) << "k = " << k;
    EXPECT_TRUE(at::equal(found.scores, truth.scores)) << "k = " << k;
  }
}

// 211 = 7 * 30 + 1: the last piece has one column; 8192: one piece holds all.
INSTANTIATE_TEST_SUITE_P(All, InPieces, testing::Combine(testing::Bool(), testing::Values(1, 7, 30, 64, 211, 8192)));

TEST(TopKOfAGalleryThatIsRead, HasTheBitsOfOneInMemoryForManyQueries) {
  at::manual_seed(6);
  const auto queries = at::randn({1030, 40}), gallery = at::randn({700, 40});
  const auto found = top_k(queries, source_of(gallery, 256), 9), truth = top_k(queries, gallery, 9);
  EXPECT_TRUE(at::equal(found.indices, truth.indices));
  if (kernel_takes(queries)) {
    EXPECT_TRUE(at::equal(found.scores, truth.scores));
  }
}

TEST(TopKOfAGalleryThatIsRead, PassesOnWhatReadingThrowsAndRefusesWhatIsNotFinite) {
  const auto queries = at::ones({2, 4});
  const auto lost = [](int64_t first, int64_t) -> at::Tensor {
    if (first > 0) throw core::IoError("the disk is gone");
    return at::ones({5, 4});
  };
  EXPECT_THROW(top_k(queries, GallerySource{10, lost, 5}, 3), core::IoError);
  auto broken = at::ones({10, 4});
  broken[7][2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(top_k(queries, source_of(broken, 5), 3), core::DataError);
  EXPECT_THROW(top_k(queries, GallerySource{10, [](int64_t, int64_t) { return at::ones({5, 3}); }, 5}, 3), core::BugError);
}

TEST(TopKOrder, AllEqualScoresGiveTheFirstRows) {
  const auto found = top_k(at::ones({3, 4}), at::ones({100, 4}), 9);
  EXPECT_TRUE(at::equal(found.indices, at::arange(9).expand({3, 9})));
}

TEST(RankOf, AmongEqualRowsIsTheirPlaceInTheGallery) {
  const auto own = at::arange(100);
  EXPECT_TRUE(at::equal(rank_of(at::ones({100, 4}), at::ones({100, 4}), own), own + 1));
}

TEST(RankOf, ARowThatTheGalleryLacksIsABug) {
  EXPECT_THROW(rank_of(at::ones({1, 2}), at::ones({3, 2}), at::full({1}, 3, at::kLong)), core::BugError);
  EXPECT_EQ(rank_of(at::ones({0, 2}), at::ones({3, 2}), at::empty({0}, at::kLong)).numel(), 0);
}

TEST(TopKOrder, NegativeZeroEqualsZero) {
  const auto gallery = at::tensor({-0.0f, 0.0f, -0.0f, 1.0f}).view({4, 1});
  EXPECT_TRUE(at::equal(top_k(at::ones({1, 1}), gallery, 4).indices, at::tensor(std::vector<int64_t>{3, 0, 1, 2}).view({1, 4})));
}

TEST(TopKOrder, MoreQueriesThanOneTileOfRowsKeepTheirOrder) {
  at::manual_seed(2);
  const auto queries = whole_numbers(1300, 6), gallery = whole_numbers(50, 6);
  EXPECT_TRUE(at::equal(top_k(queries, gallery, 4).indices, brute_force(queries, gallery, 4).indices));
}

TEST(TopKOrder, RealValuedScoresAreTheProducts) {
  at::manual_seed(3);
  const auto queries = at::randn({20, 32}), gallery = at::randn({300, 32});
  const auto found = top_k(queries, gallery, 10), truth = brute_force(queries, gallery, 10);
  EXPECT_TRUE(at::equal(found.indices, truth.indices));
  EXPECT_TRUE(at::allclose(found.scores, truth.scores, 1e-5, 1e-5));
}

TEST(TopKOrder, EqualFeaturesScoreAlikeWhereverTheyStand) {
  at::manual_seed(4);
  const auto queries = at::randn({129, 512}), gallery = at::randn({193, 512});
  queries[128].copy_(queries[0]);
  gallery[192].copy_(gallery[0]);
  const auto found = top_k(queries, gallery, 193);
  const auto scores = at::empty_like(found.scores).scatter_(1, found.indices, found.scores);
  EXPECT_TRUE(at::equal(scores[0], scores[128]));
  EXPECT_TRUE(at::equal(scores.select(1, 0), scores.select(1, 192)));
  // LibTorch's kernel for a last tile of one row or column would round otherwise.
  const auto in_tiles = top_k_in_tiles(Tiles(queries, gallery, false, 64), 193);
  const auto tiled = at::empty_like(scores).scatter_(1, in_tiles.indices, in_tiles.scores);
  EXPECT_TRUE(at::equal(tiled[0], tiled[128]));
  EXPECT_TRUE(at::equal(tiled.select(1, 0), tiled.select(1, 192)));
}

// With 2,048 features LibTorch sums in as many parts as there are threads. 40 queries: threads share the gallery; 140: two parts of the queries, and five
// threads the gallery as well; 600: the queries alone.
TEST(TopKOrder, ScoresDoNotDependOnTheNumberOfThreads) {
  at::manual_seed(5);
  const auto gallery = at::randn({530, 2048});
  const int before = at::get_num_threads();
  for (const int64_t rows : {40, 140, 600}) {
    const auto queries = at::randn({rows, 2048});
    at::set_num_threads(1);
    const auto expected = top_k(queries, gallery, 20), in_tiles = top_k_in_tiles(Tiles(queries, gallery, false), 20);
    for (const int threads : {2, 3, 5}) {
      at::set_num_threads(threads);
      for (const auto& found : {top_k(queries, gallery, 20), top_k(queries, source_of(gallery, 270), 20)}) {
        EXPECT_TRUE(at::equal(found.scores, expected.scores)) << rows << " " << threads;
        EXPECT_TRUE(at::equal(found.indices, expected.indices)) << rows << " " << threads;
      }
      EXPECT_TRUE(at::equal(top_k_in_tiles(Tiles(queries, gallery, false), 20).scores, in_tiles.scores)) << rows << " " << threads;
    }
  }
  at::set_num_threads(before);
}

TEST(TopKErrors, NoQueriesAndNoGalleryGiveEmptyResults) {
  EXPECT_EQ(top_k(at::ones({0, 4}), at::ones({9, 4}), 3).indices.sizes(), (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(top_k(at::ones({2, 4}), at::ones({0, 4}), 3).indices.sizes(), (std::vector<int64_t>{2, 0}));
}

TEST(TopKErrors, ANotFiniteFeatureIsBadData) {
  auto broken = at::ones({5, 4});
  broken[3][2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(top_k(broken, at::ones({9, 4}), 3), core::DataError);
  EXPECT_THROW(top_k(at::ones({9, 4}), broken, 3), core::DataError);
}

TEST(TopKErrors, ASimilarityThatOverflowsIsBadData) { EXPECT_THROW(top_k(at::full({1, 4}, 1e30), at::full({2, 4}, 1e30), 1), core::DataError); }

TEST(TopKErrors, KMustBePositive) { EXPECT_THROW(top_k(at::ones({1, 4}), at::ones({2, 4}), 0), core::UsageError); }

}  // namespace
}  // namespace syncdr::evaluation
