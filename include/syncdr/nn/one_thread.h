#pragma once
#include <ATen/Parallel.h>

#include <functional>

namespace syncdr::nn {

/// While it lives, LibTorch's operations stay in the thread that calls them: some cut a sum by the number of threads, which is another for each
/// number of ranks on a host.
class OneThread {
 public:
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  int before() const { return before_; }

 private:
  const int before_ = at::get_num_threads();
};

/// Calls body(0) ... body(count - 1), without gradients, as many at a time as LibTorch has threads, each in one thread from end to end: what a
/// call computes does not depend on the number of threads.
void each_in_one_thread(int64_t count, const std::function<void(int64_t)>& body);

}  // namespace syncdr::nn
