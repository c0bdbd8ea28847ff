#include "syncdr/evaluation/retention.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "syncdr/nn/unit_rows.h"

namespace syncdr::evaluation {
namespace {

at::Tensor table(std::vector<int64_t> values, int64_t variants) { return at::tensor(values, at::kLong).view({-1, variants}); }

// Small whole numbers: many equal scores.
at::Tensor whole_numbers(int64_t rows, int64_t columns) { return at::randint(-2, 3, {rows, columns}).to(at::kFloat); }

double product(const at::Tensor& a, const at::Tensor& b) { return (a * b).sum().item<double>(); }

TEST(PairRanks, EqualBruteForceWithTiesVariantsAndMissingTranslations) {
  at::manual_seed(1);
  constexpr int64_t n = 12, k = 2;
  const auto sources = whole_numbers(n, 3), made = whole_numbers(30, 3);
  std::vector<int64_t> slots;
  for (int64_t i = 0; i < n * k; ++i) slots.push_back(i % 5 == 3 ? -1 : (7 * i) % 30);
  const auto ranks = pair_ranks(sources, made, table(slots, k));
  const auto slot = [&](int64_t row, int64_t variant) { return slots[static_cast<size_t>(row * k + variant)]; };
  for (int64_t row = 0; row < n; ++row)
    for (int64_t variant = 0; variant < k; ++variant) {
      const int64_t own = slot(row, variant);
      int64_t source = 0, translation = 0;
      if (own >= 0) {
        const double score = product(made[own], sources[row]);
        source = translation = 1;
        for (int64_t other = 0; other < n; ++other) {
          const double found = product(made[own], sources[other]);
          source += found > score || (found == score && other < row);
          if (slot(other, variant) < 0) continue;
          const double rival = product(sources[row], made[slot(other, variant)]);
          translation += rival > score || (rival == score && other < row);
        }
      }
      EXPECT_EQ(ranks.source[row][variant].item<int64_t>(), source) << row << " " << variant;
      EXPECT_EQ(ranks.translation[row][variant].item<int64_t>(), translation) << row << " " << variant;
    }
  EXPECT_EQ(ranks.pairs(), n * k - 5);
}

TEST(PairRanks, OfTranslationsThatAreTheirSourcesAreAllFirst) {
  at::manual_seed(2);
  const auto images = nn::unit_rows(at::randn({40, 8}));
  const auto ranks = pair_ranks(images, images, at::arange(40).view({40, 1}));
  const auto figures = figures_of(ranks);
  EXPECT_EQ(figures.pairs, 40);
  EXPECT_DOUBLE_EQ(figures.source_at_1, 1);
  EXPECT_DOUBLE_EQ(figures.translation_reciprocal_rank, 1);
  EXPECT_EQ(ranks.share_before().max().item<float>(), 0);
}

TEST(PairRanks, OfUnrelatedTranslationsAreChance) {
  at::manual_seed(3);
  const auto ranks = pair_ranks(nn::unit_rows(at::randn({1000, 16})), nn::unit_rows(at::randn({1000, 16})), at::arange(1000).view({1000, 1}));
  EXPECT_NEAR(ranks.share_before().mean().item<double>(), 0.5, 0.03);
  EXPECT_LT(figures_of(ranks).source_at_1, 0.01);
}

TEST(RetentionFigures, FollowTheirDefinitionByHand) {
  const PairRanks ranks{table({1, 4, 0, 2}, 2), table({2, 1, 0, 1}, 2)};
  const auto figures = figures_of(ranks);
  EXPECT_EQ(figures.pairs, 3);
  EXPECT_DOUBLE_EQ(figures.source_at_1, 1.0 / 3);
  EXPECT_DOUBLE_EQ(figures.source_reciprocal_rank, (1 + 0.25 + 0.5) / 3);
  EXPECT_DOUBLE_EQ(figures.translation_at_1, 2.0 / 3);
  EXPECT_DOUBLE_EQ(figures.translation_reciprocal_rank, 2.5 / 3);
  EXPECT_EQ(figures_of({table({0, 0}, 1), table({0, 0}, 1)}).pairs, 0);
}

TEST(ShareBefore, IsTheMeanOfBothWaysOverRivals) {
  // Five sources with one variant, one without a translation: 4 rivals for a source, 3 for a translation.
  const PairRanks ranks{table({1, 3, 0, 5, 2}, 1), table({1, 4, 0, 2, 1}, 1)};
  const auto share = ranks.share_before();
  EXPECT_FLOAT_EQ(share[0][0].item<float>(), 0);
  EXPECT_FLOAT_EQ(share[1][0].item<float>(), (2.0f / 4 + 3.0f / 3) / 2);
  EXPECT_FLOAT_EQ(share[2][0].item<float>(), 1);
  EXPECT_FLOAT_EQ(share[3][0].item<float>(), (4.0f / 4 + 1.0f / 3) / 2);
}

TEST(PairWeights, AreOneWhereBothFindEachOtherFirstAndHalfAtTheThreshold) {
  const PairRanks ranks{table({1, 3, 0, 5, 2}, 1), table({1, 4, 0, 2, 1}, 1)};
  const auto weights = ranks.weights(0.75);
  EXPECT_EQ(weights.scalar_type(), at::kDouble);
  EXPECT_EQ(weights[0][0].item<double>(), 1);
  EXPECT_DOUBLE_EQ(weights[1][0].item<double>(), 0.5);  // three quarters come before
  EXPECT_EQ(weights[2][0].item<double>(), 0) << "there is no translation";
  EXPECT_DOUBLE_EQ(weights[4][0].item<double>(), 0.75 / (0.75 + 0.125));
}

}  // namespace
}  // namespace syncdr::evaluation
