#include "syncdr/core/some_of.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace syncdr::core {
namespace {

TEST(SomeOf, ShowsNoMoreNamesThanItIsAskedForAndCountsTheRest) {
  const std::vector<std::string> names{"a", "b", "c", "d", "e"};
  EXPECT_EQ(some_of(names), "a, b, c and 2 more");
  EXPECT_EQ(some_of(names, 4), "a, b, c, d and 1 more");
  EXPECT_EQ(some_of(names, 5), "a, b, c, d, e");
  EXPECT_EQ(some_of(std::set<std::string>{"b", "a"}), "a, b");
  EXPECT_EQ(some_of(std::vector<std::string>{}), "");
}

}  // namespace
}  // namespace syncdr::core
