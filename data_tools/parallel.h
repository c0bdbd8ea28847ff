#pragma once
#include <thread>

#include "syncdr/core/parallel.h"

namespace syncdr::data_tools {

/// core::parallel_for on all cores.
inline void in_parallel(int64_t count, const std::function<void(int64_t)>& work) { core::parallel_for(count, std::thread::hardware_concurrency(), work); }

}  // namespace syncdr::data_tools
