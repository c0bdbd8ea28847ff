#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <limits>

#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"
#include "syncdr/core/stop.h"

namespace syncdr::core {
namespace {

using testing::HasSubstr;

TEST(Error, EachClassHasTheExitCodeOfTheDesign) {
  EXPECT_EQ(static_cast<int>(UsageError("x").code()), 2);
  EXPECT_EQ(static_cast<int>(DataError("x").code()), 65);
  EXPECT_EQ(static_cast<int>(BugError("x").code()), 70);
  EXPECT_EQ(static_cast<int>(IoError("x").code()), 74);
  EXPECT_EQ(static_cast<int>(PeerError("x").code()), 75);
  EXPECT_EQ(static_cast<int>(StopRequested("x").code()), 85);
}

TEST(Error, ABrokenInvariantNamesItsConditionAndTheStack) {
  try {
    SYNCDR_ASSERT(1 + 1 == 3, "{} apples", 2);
    FAIL();
  } catch (const BugError& error) {
    EXPECT_THAT(error.what(), HasSubstr("1 + 1 == 3: 2 apples"));
    EXPECT_THAT(error.what(), HasSubstr("# "));
  }
}

TEST(Error, TheProgramEndsWithTheErrorsCode) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_main([]() -> int { throw DataError("{} is broken", "x.h5"); }), 65);
  EXPECT_EQ(run_main([]() -> int { throw std::runtime_error("oops"); }), 70);
  EXPECT_EQ(run_main([] { return 3; }), 3);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("x.h5 is broken"));
}

TEST(Checked, OverflowIsBadDataAndNotUndefined) {
  EXPECT_EQ(checked_mul<uint64_t>(1u << 20, 1u << 20, "size"), uint64_t{1} << 40);
  EXPECT_THROW(checked_mul<uint64_t>(uint64_t{1} << 40, uint64_t{1} << 40, "size"), DataError);
  EXPECT_THROW(checked_add<int64_t>(std::numeric_limits<int64_t>::max(), 1, "rows"), DataError);
  EXPECT_THROW((checked_cast<int32_t>(int64_t{1} << 40, "rows")), DataError);
  EXPECT_THROW((checked_cast<uint64_t>(int64_t{-1}, "rows")), DataError);
}

TEST(Stop, ASignalIsRemembered) {
  EXPECT_THROW(watch_stop_signals("USR9"), UsageError);
  watch_stop_signals("USR2");
  EXPECT_FALSE(stop_requested());
  std::raise(SIGUSR2);
  EXPECT_TRUE(stop_requested());
}

}  // namespace
}  // namespace syncdr::core
