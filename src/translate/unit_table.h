#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "plan.h"
#include "syncdr/comm/world.h"

namespace syncdr::translate {

/// Records of units as seen by all ranks. Each unit is recorded by one rank, so that a sum over ranks gathers them.
class UnitTable {
 public:
  explicit UnitTable(int64_t units);

  void add(const UnitRecord& record);
  void gather(comm::World& world);
  /// Takes over the other's records of units that this one does not know.
  void merge(const UnitTable& other);

  bool has(int64_t unit) const { return at(unit, known) != 0; }
  std::vector<int64_t> missing() const;
  int64_t redrawn() const { return sum(redrawn_images); }
  int64_t quarantined() const { return sum(quarantined_images); }
  /// Images of the units recorded.
  int64_t images(const Plan& plan) const;
  data::ManifestEntry entry(const Plan& plan, int64_t unit) const;

 private:
  enum Column : int64_t { known, bytes, hash_begin, hash_end, redrawn_images, quarantined_images, columns };
  int64_t at(int64_t unit, Column column) const { return values_.const_data_ptr<int64_t>()[unit * columns + column]; }
  int64_t sum(Column column) const;
  at::Tensor values_;  // [units, columns] int64
};

}  // namespace syncdr::translate
