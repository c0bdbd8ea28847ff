#pragma once
#include <cstdint>
#include <vector>

/// How a run's source rows are divided into units: arithmetic alone.
namespace syncdr::translate {

/// The fewest rows whose variants fill whole batches.
int64_t batch_rows(int64_t variants, int64_t batch);

/// The sizes of units in the order in which they are claimed: `full` of unit_rows, then smaller ones.
struct UnitSizes {
  int64_t full = 0;
  std::vector<int64_t> tapered;
};

/// Units of unit_rows rows that shrink to a taper-th of what is left, once fewer than `taper` of them are left, down to an eighth, so that ranks
/// which take them in order finish together (guided self-scheduling, Polychronopoulos and Kuck, 1987). Rounded up to multiples of `grain`
/// (batch_rows) where that stays within unit_rows. taper 0: all alike.
UnitSizes unit_sizes(int64_t rows, int64_t unit_rows, int64_t taper, int64_t grain);

/// The same as the first row of each unit, and `rows`: [units + 1].
std::vector<int64_t> unit_starts(int64_t rows, int64_t unit_rows, int64_t taper, int64_t grain);

}  // namespace syncdr::translate
