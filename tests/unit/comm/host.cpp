#include "host.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "syncdr/core/parallel.h"

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

TEST(ShareOfCores, IsEqualAndAtLeastOne) {
  const auto cores = static_cast<int>(core::usable_cores());
  EXPECT_EQ(share_of_cores(1), cores);
  EXPECT_EQ(share_of_cores(2), std::max(1, cores / 2));
  EXPECT_EQ(share_of_cores(100000), 1);
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
