#include "syncdr/retrieval/memory_bank.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::retrieval {
namespace {

at::Tensor rows(std::vector<int64_t> values) { return at::tensor(values, at::kLong); }

TEST(MemoryBank, MixesOldRowAndFeatureAndScalesToUnitLength) {
  MemoryBank bank(at::eye(4, at::kDouble), 0.25);
  bank.update(rows({2}), at::eye(4, at::kDouble).slice(0, 0, 1));
  const double length = std::hypot(0.25, 0.75);
  EXPECT_NEAR(bank.rows()[2][0].item<double>(), 0.75 / length, 1e-12);
  EXPECT_NEAR(bank.rows()[2][2].item<double>(), 0.25 / length, 1e-12);
}

TEST(MemoryBank, LeavesOtherRowsAsTheyWere) {
  MemoryBank bank(at::eye(4), 0.5);
  bank.update(rows({3, 1}), at::eye(4).slice(0, 2, 4));
  EXPECT_TRUE(bank.rows()[0].equal(at::eye(4)[0]));
  EXPECT_TRUE(bank.rows()[2].equal(at::eye(4)[2]));
  EXPECT_FALSE(bank.rows()[1].equal(at::eye(4)[1]));
}

TEST(MemoryBank, StaysConstantForTheBackwardPass) {
  MemoryBank bank(at::eye(4), 0.5);
  bank.update(rows({1}), at::ones({1, 4}).requires_grad_(true));
  EXPECT_FALSE(bank.rows().requires_grad());
}

TEST(MemoryBank, RefusesRowsOutsideAndAnEntryTwice) {
  MemoryBank bank(at::eye(4), 0.5);
  EXPECT_ERROR(bank.update(rows({4}), at::ones({1, 4})), core::UsageError, "memory bank that has 4");
  EXPECT_ERROR(bank.update(rows({1, 1}), at::ones({2, 4})), core::UsageError, "twice");
  EXPECT_TRUE(bank.rows().equal(at::eye(4)));
}

}  // namespace
}  // namespace syncdr::retrieval
