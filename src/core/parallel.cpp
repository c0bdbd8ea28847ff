#include "syncdr/core/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace syncdr::core {

void parallel_for(int64_t count, int64_t threads, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto work = [&] {
    try {
      for (auto index = next++; index < count; index = next++) body(index);
    } catch (...) {
      next = count;  // the others need not begin what nobody will use
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int64_t helper = 1; helper < std::min(threads, count); ++helper) helpers.emplace_back(work);
    work();
  }
  if (error) std::rethrow_exception(error);
}

int64_t usable_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  // The standard library's number is that of the host. A mask too small for the host is refused.
  const bool known = sched_getaffinity(0, sizeof(mask), &mask) == 0;
  return std::max<int64_t>(1, known ? CPU_COUNT(&mask) : std::thread::hardware_concurrency());
}

}  // namespace syncdr::core
