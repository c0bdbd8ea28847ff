#include <gtest/gtest.h>

#include "syncdr/core/error.h"
#include "syncdr/training/part.h"

using namespace syncdr;

TEST(PartOf, TilesTheWholeInRankOrderNearlyEqually) {
  for (const int64_t count : {0, 1, 2, 7, 12, 1000}) {
    for (const int ranks : {1, 2, 3, 5}) {
      int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const auto part = training::part_of(count, rank, ranks);
        EXPECT_EQ(part.first, next);
        EXPECT_GE(part.size(), count / ranks);
        EXPECT_LE(part.size(), (count + ranks - 1) / ranks);
        next = part.last;
      }
      EXPECT_EQ(next, count);
    }
  }
}

TEST(PartOf, ARankOutsideTheJobIsABug) {
  EXPECT_THROW(training::part_of(5, 3, 3), core::BugError);
  EXPECT_THROW(training::part_of(-1, 0, 3), core::BugError);
}
