#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace syncdr::data_tools {

/// work(i) for every i in [0, count), on all cores; work is called from several threads. The first exception ends it and comes out here.
template <class Work> void in_parallel(int64_t count, const Work& work) {
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex mutex;
  const auto run = [&] {
    try {
      for (int64_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = count;
    }
  };
  const auto threads = std::min<int64_t>(std::max(1u, std::thread::hardware_concurrency()), count);
  std::vector<std::jthread> pool;
  for (int64_t i = 0; i < threads; ++i) pool.emplace_back(run);
  pool.clear();  // joins
  if (error) std::rethrow_exception(error);
}

}  // namespace syncdr::data_tools
