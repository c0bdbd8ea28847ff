#include "syncdr/training/part.h"

#include <algorithm>

#include "syncdr/core/error.h"

namespace syncdr::training {

Part part_of(int64_t count, int rank, int ranks) {
  SYNCDR_ASSERT(count >= 0 && rank >= 0 && rank < ranks, "part {} of {} of {} things", rank, ranks, count);
  const int64_t each = count / ranks, longer = count % ranks;  // the first `longer` ranks take one more
  const int64_t first = rank * each + std::min<int64_t>(rank, longer);
  return {first, first + each + (rank < longer ? 1 : 0)};
}

}  // namespace syncdr::training
