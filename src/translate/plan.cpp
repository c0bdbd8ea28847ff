#include "plan.h"

#include <algorithm>

namespace syncdr::translate {

std::vector<int64_t> unit_starts(int64_t rows, int64_t unit_rows, int64_t taper, int64_t grain) {
  std::vector<int64_t> starts{0};
  const auto least = std::max<int64_t>(1, unit_rows / 8);
  while (starts.back() < rows) {
    const auto left = rows - starts.back();
    auto size = unit_rows;
    if (taper > 0) size = std::clamp(left / taper, least, unit_rows);
    // Rounded up to whole batches, but not beyond what was asked for.
    const auto whole = (size + grain - 1) / grain * grain;
    if (whole <= unit_rows) size = whole;
    starts.push_back(starts.back() + std::min(size, left));
  }
  return starts;
}

}  // namespace syncdr::translate
