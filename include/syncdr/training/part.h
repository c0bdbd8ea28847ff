#pragma once
#include <algorithm>
#include <cstdint>

#include "syncdr/core/error.h"

namespace syncdr::training {

/// This rank's part [first, last) of `count` things dealt to ranks in contiguous, nearly equal parts.
struct Part {
  int64_t first = 0, last = 0;
  int64_t size() const { return last - first; }
};

inline Part part_of(int64_t count, int rank, int ranks) {
  SYNCDR_ASSERT(count >= 0 && rank >= 0 && rank < ranks, "part {} of {} of {} things", rank, ranks, count);
  const int64_t each = count / ranks, longer = count % ranks;  // the first `longer` ranks take one more
  const int64_t first = rank * each + std::min<int64_t>(rank, longer);
  return {first, first + each + (rank < longer ? 1 : 0)};
}

}  // namespace syncdr::training
