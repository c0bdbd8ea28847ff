#include "plan.h"

#include <gtest/gtest.h>

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

TEST(UnitStarts, HoldEveryRowOnceWhateverTheSettings) {
  for (const int64_t rows : {1, 7, 64, 65, 1000})
    for (const int64_t unit_rows : {1, 5, 64})
      for (const int64_t taper : {0, 1, 16, 1000})
        for (const int64_t grain : {1, 3, 8}) {
          const auto starts = unit_starts(rows, unit_rows, taper, grain);
          EXPECT_EQ(starts.front(), 0);
          EXPECT_EQ(starts.back(), rows);
          for (const auto size : sizes(starts)) EXPECT_TRUE(size >= 1 && size <= unit_rows) << rows << ' ' << unit_rows << ' ' << taper << ' ' << grain;
        }
}

}  // namespace
}  // namespace syncdr::translate
