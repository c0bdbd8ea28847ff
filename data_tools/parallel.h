#pragma once
#include "syncdr/core/parallel.h"

namespace syncdr::data_tools {

/// core::parallel_for on all cores that this process may use.
inline void in_parallel(int64_t count, const std::function<void(int64_t)>& work) { core::parallel_for(count, core::usable_cores(), work); }

}  // namespace syncdr::data_tools
