#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "syncdr/core/parallel.h"

namespace syncdr::core {
namespace {

TEST(ParallelFor, CallsEachIndexOnceWithAnyNumberOfThreads) {
  for (const int64_t threads : {1, 3, 64}) {
    std::vector<std::atomic<int>> calls(37);
    parallel_for(37, threads, [&](int64_t index) { ++calls[static_cast<size_t>(index)]; });
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
}

TEST(ParallelFor, RethrowsAnErrorOfAnyThread) {
  const auto body = [](int64_t index) {
    if (index == 5) throw std::runtime_error("image 5");
  };
  EXPECT_THROW(parallel_for(8, 3, body), std::runtime_error);
}

TEST(UsableCores, FollowTheAffinityMask) {
  cpu_set_t before, one;
  sched_getaffinity(0, sizeof(before), &before);
  EXPECT_EQ(usable_cores(), CPU_COUNT(&before));
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(usable_cores(), 1);
  sched_setaffinity(0, sizeof(before), &before);
}

}  // namespace
}  // namespace syncdr::core
