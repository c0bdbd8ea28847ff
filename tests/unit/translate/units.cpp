#include "syncdr/translate/units.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace syncdr::translate {
namespace {

std::vector<int64_t> sizes(const std::vector<int64_t>& starts) {
  std::vector<int64_t> sizes;
  for (size_t i = 1; i < starts.size(); ++i) sizes.push_back(starts[i] - starts[i - 1]);
  return sizes;
}

TEST(UnitStarts, WithoutTaperAreAllAlike) {
  EXPECT_EQ(unit_starts(10, 4, 0, 1), (std::vector<int64_t>{0, 4, 8, 10}));
  EXPECT_EQ(unit_starts(8, 4, 0, 4), (std::vector<int64_t>{0, 4, 8}));
  EXPECT_EQ(unit_starts(7, 5, 0, 2), (std::vector<int64_t>{0, 5, 7})) << "never larger than asked for";
}

TEST(UnitStarts, ShrinkToAnEighthAndHoldWholeBatches) {
  const auto all = sizes(unit_starts(10'000, 64, 16, 8));
  EXPECT_EQ(all.front(), 64);
  EXPECT_EQ(all.back(), 8);
  for (size_t i = 1; i < all.size(); ++i) EXPECT_LE(all[i], all[i - 1]);
  for (const auto size : all) EXPECT_EQ(size % 8, 0);
  // Before the last sixteen units nothing has shrunk.
  int64_t rows = 0;
  for (size_t i = 0; rows < 10'000 - 16 * 64; rows += all[i++]) EXPECT_EQ(all[i], 64);
}

/// The rule, unit after unit.
int64_t next_size(int64_t left, int64_t unit_rows, int64_t taper, int64_t grain) {
  int64_t size = unit_rows;
  if (taper > 0) size = std::clamp(left / taper, std::max<int64_t>(1, unit_rows / 8), unit_rows);
  const int64_t whole = (size + grain - 1) / grain * grain;
  return std::min(left, whole <= unit_rows ? whole : size);
}

TEST(UnitStarts, FollowTheRuleUnitAfterUnit) {
  for (const int64_t rows : {0, 1, 7, 63, 64, 65, 570, 1000, 1023, 1024, 1025, 20011})
    for (const int64_t unit_rows : {1, 3, 5, 16, 64})
      for (const int64_t taper : {0, 1, 16, 1000})
        for (const int64_t grain : {1, 3, 4, 8}) {
          std::vector<int64_t> expected{0};
          while (expected.back() < rows) expected.push_back(expected.back() + next_size(rows - expected.back(), unit_rows, taper, grain));
          ASSERT_EQ(unit_starts(rows, unit_rows, taper, grain), expected) << rows << ' ' << unit_rows << ' ' << taper << ' ' << grain;
        }
}

TEST(UnitSizes, FillBatchesTogetherWithTheVariants) {
  EXPECT_EQ(batch_rows(1, 8), 8);
  EXPECT_EQ(batch_rows(2, 8), 4);
  EXPECT_EQ(batch_rows(3, 8), 8);
  EXPECT_EQ(batch_rows(16, 8), 1);
}

}  // namespace
}  // namespace syncdr::translate
