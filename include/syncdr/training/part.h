#pragma once
#include <cstdint>

namespace syncdr::training {

/// This rank's part [first, last) of `count` things dealt to ranks in contiguous, nearly equal parts.
struct Part {
  int64_t first = 0, last = 0;
  int64_t size() const { return last - first; }
};
Part part_of(int64_t count, int rank, int ranks);

}  // namespace syncdr::training
