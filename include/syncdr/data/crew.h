#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>

namespace syncdr::data {

/// Calls work(0), ..., work(count - 1), none of which may depend on another: where a Prefetcher makes a batch, by all of its threads together; elsewhere by
/// this thread. Throws what the lowest of them threw.
void each_image(int64_t count, const std::function<void(int64_t)>& work);

/// What a Prefetcher's threads share: the batches that some of them have begun and all of them help with, oldest first. So a large batch is made by as many
/// threads as there are, and no more batches lie in memory than are wanted ahead.
struct Crew {
  struct Task {
    int64_t count;
    const std::function<void(int64_t)>& work;
    int64_t begun = 0, ended = 0;
    int64_t failed = std::numeric_limits<int64_t>::max();  // the lowest that threw
    std::exception_ptr error;
  };

  std::mutex mutex;  // of all that follows, and of the tasks
  std::condition_variable_any changed;
  std::deque<Task*> open;  // tasks of which something has not been begun

  /// The next of an open task. `lock` holds the mutex, but not while it works.
  void work_on(Task& task, std::unique_lock<std::mutex>& lock);
  void each(int64_t count, const std::function<void(int64_t)>& work);

  static inline thread_local Crew* of_this_thread = nullptr;
};

}  // namespace syncdr::data
