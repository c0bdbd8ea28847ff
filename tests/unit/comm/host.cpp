#include "host.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

namespace syncdr::comm {
namespace {

/// Sets or unsets an environment variable for one test.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value ? setenv(name, value, 1) : unsetenv(name);
  }
  ~Environment() { old_ ? setenv(name_, old_->c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

int cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  sched_getaffinity(getpid(), sizeof(mask), &mask);
  return CPU_COUNT(&mask);
}

TEST(ShareOfCores, IsEqualAndAtLeastOne) {
  EXPECT_EQ(share_of_cores(1), cores());
  EXPECT_EQ(share_of_cores(2), std::max(1, cores() / 2));
  EXPECT_EQ(share_of_cores(100000), 1);
}

TEST(ShareOfCores, FollowsTheAffinityMask) {
  cpu_set_t before, one;
  sched_getaffinity(getpid(), sizeof(before), &before);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(getpid(), sizeof(one), &one), 0);
  EXPECT_EQ(share_of_cores(1), 1);
  sched_setaffinity(getpid(), sizeof(before), &before);
}

TEST(ComputeThreads, AreOmpNumThreadsIfThatIsANumberElseTheShareOfCores) {
  const Environment set("OMP_NUM_THREADS", "5");
  EXPECT_EQ(compute_threads(3), 5);
  EXPECT_EQ(share_of_cores(100000), 1);
  const Environment broken("OMP_NUM_THREADS", "many");
  EXPECT_EQ(compute_threads(100000), 1);
  EXPECT_EQ(compute_threads(1), share_of_cores(1));
}

TEST(ReachableAddress, IsTheOneChosenOrNoLoopback) {
  {
    const Environment chosen("SYNCDR_STORE_HOST", "node7.cluster");
    EXPECT_EQ(reachable_address(), "node7.cluster");
  }
  const Environment unset("SYNCDR_STORE_HOST", nullptr);
  EXPECT_NE(reachable_address().substr(0, 4), "127.");
}

}  // namespace
}  // namespace syncdr::comm
