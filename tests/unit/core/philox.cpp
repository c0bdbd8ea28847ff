#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"

namespace syncdr::core {
namespace {

// Random123's known answers (kat_vectors, philox4x32 with 10 rounds).
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}), (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, StreamsDifferInEveryPartOfTheirName) {
  const auto first = [](Random random) { return random.bits(); };
  std::vector<uint32_t> seen{first({1, Purpose::noise, 2, 3, 4}),
                             first({2, Purpose::noise, 2, 3, 4}),
                             first({1, Purpose::order, 2, 3, 4}),
                             first({1, Purpose::noise, 3, 3, 4}),
                             first({1, Purpose::noise, 2, 4, 4}),
                             first({1, Purpose::noise, 2, 3, 5}),
                             first({1, Purpose::noise, uint64_t{2} << 32, 3, 4})};
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

TEST(Random, TheSameNameGivesTheSameNumbers) {
  Random a(7, Purpose::augmentation, 11), b(7, Purpose::augmentation, 11);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.bits(), b.bits());
}

TEST(Random, NormalNumbersHaveMeanZeroAndVarianceOne) {
  std::vector<float> values(200000);
  Random(3, Purpose::noise).fill_normal(values);
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double variance = 0;
  for (const float value : values) variance += (value - mean) * (value - mean) / n;
  EXPECT_NEAR(mean, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(variance, 1, 0.02);
}

TEST(Random, BelowIsUniformAndStaysBelow) {
  Random random(5, Purpose::order);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts.at(random.below(7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);
  EXPECT_THROW(random.below(0), BugError);
}

}  // namespace
}  // namespace syncdr::core
