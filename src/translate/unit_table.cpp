#include "unit_table.h"

#include <ATen/ops/zeros.h>

namespace syncdr::translate {

UnitTable::UnitTable(int64_t units) : values_(at::zeros({units, columns}, at::kLong)) {}

void UnitTable::add(const UnitRecord& record) {
  const auto hash_half = [&](size_t half) { return static_cast<int64_t>(std::stoull(record.entry.hash.substr(16 * half, 16), nullptr, 16)); };
  const int64_t row[columns] = {1, record.entry.bytes, hash_half(0), hash_half(1), record.redrawn, record.quarantined};
  std::copy_n(row, columns, values_.data_ptr<int64_t>() + record.unit * columns);
}

void UnitTable::gather(comm::World& world) { world.all_reduce_sum(values_, "gathering the units' records"); }

void UnitTable::merge(const UnitTable& other) {
  for (int64_t unit = 0; unit < values_.size(0); ++unit)
    if (!has(unit)) std::copy_n(other.values_.const_data_ptr<int64_t>() + unit * columns, columns, values_.data_ptr<int64_t>() + unit * columns);
}

std::vector<int64_t> UnitTable::missing() const {
  std::vector<int64_t> units;
  for (int64_t unit = 0; unit < values_.size(0); ++unit)
    if (!has(unit)) units.push_back(unit);
  return units;
}

int64_t UnitTable::images(const Plan& plan) const {
  int64_t images = 0;
  for (int64_t unit = 0; unit < values_.size(0); ++unit) images += has(unit) ? plan.images_of(unit) : 0;
  return images;
}

int64_t UnitTable::sum(Column column) const { return values_.select(1, column).sum().item<int64_t>(); }

data::ManifestEntry UnitTable::entry(const Plan& plan, int64_t unit) const {
  return {.file = plan.file_of(unit),
          .rows = plan.images_of(unit),
          .bytes = at(unit, bytes),
          .hash = fmt::format("{:016x}{:016x}", static_cast<uint64_t>(at(unit, hash_begin)), static_cast<uint64_t>(at(unit, hash_end)))};
}

}  // namespace syncdr::translate
