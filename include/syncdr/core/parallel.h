#pragma once
#include <cstdint>
#include <functional>

namespace syncdr::core {

/// Calls body(0) ... body(count - 1) in up to `threads` threads, this one included, and returns when all are done. The first exception is rethrown.
/// Threads are made for each call: a batch's images take a hundred times as long to decode as the threads to start.
void parallel_for(int64_t count, int64_t threads, const std::function<void(int64_t)>& body);

/// How many cores this process may use: those of its affinity mask, which schedulers and launchers set, at least 1.
int64_t usable_cores();

}  // namespace syncdr::core
