#include "syncdr/translate/units.h"

#include <algorithm>
#include <numeric>

namespace syncdr::translate {

int64_t batch_rows(int64_t variants, int64_t batch) { return batch / std::gcd(batch, variants); }

UnitSizes unit_sizes(int64_t rows, int64_t unit_rows, int64_t taper, int64_t grain) {
  UnitSizes sizes;
  if (taper == 0) sizes.full = rows / unit_rows;
  else if (rows >= taper * unit_rows) sizes.full = (rows - taper * unit_rows) / unit_rows + 1;
  const auto least = std::max<int64_t>(1, unit_rows / 8);
  for (int64_t left = rows - sizes.full * unit_rows; left > 0; left -= sizes.tapered.back()) {
    const auto size = taper == 0 ? unit_rows : std::clamp(left / taper, least, unit_rows);
    // Rounded up to whole batches, but not beyond what was asked for.
    const auto whole = (size + grain - 1) / grain * grain;
    sizes.tapered.push_back(std::min(left, whole <= unit_rows ? whole : size));
  }
  return sizes;
}

std::vector<int64_t> unit_starts(int64_t rows, int64_t unit_rows, int64_t taper, int64_t grain) {
  const auto sizes = unit_sizes(rows, unit_rows, taper, grain);
  std::vector<int64_t> starts{0};
  for (int64_t unit = 0; unit < sizes.full; ++unit) starts.push_back(starts.back() + unit_rows);
  for (const auto size : sizes.tapered) starts.push_back(starts.back() + size);
  return starts;
}

}  // namespace syncdr::translate
