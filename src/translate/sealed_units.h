#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/io/identity.h"
#include "unit_layout.h"

namespace syncdr::translate {

inline constexpr const char* manifest_name = "translation.json";

/// A sealed unit, as the manifest and the result need it.
struct UnitRecord {
  int64_t unit = 0;
  data::ManifestEntry entry;
  int64_t redrawn = 0, quarantined = 0;
};

/// Records the settings in the run's folder (run.json) before anything is made there, once among all jobs. Throws UsageError naming the first setting
/// that differs, with both values, if the folder holds a run made with others.
void claim_folder(const std::filesystem::path& folder, const io::Identity& settings);

/// What the manifest of a finished run says of its files; empty if there is none.
std::map<std::string, std::string> recorded_hashes(const std::filesystem::path& folder);

/// Whether the unit is sealed and whole: structure, every CRC, keys and variants equal to the source's, the manifest's hash if there is one. A file that is
/// not is left where it is, with a warning: another job may be replacing it.
struct CheckedUnit {
  bool there = false;
  std::optional<UnitRecord> record;  ///< nothing: it is not there, or damaged
};
CheckedUnit check_unit(const UnitLayout& layout, int64_t unit);

/// Records of units. Each unit is recorded once, by one rank, so that a sum over ranks gathers them.
class UnitTable {
 public:
  explicit UnitTable(int64_t units);

  void add(const UnitRecord& record);
  /// Takes over what all ranks have recorded in tables of their own, of units that this one does not know. A collective.
  void gather(comm::World& world, UnitTable& here);

  bool has(int64_t unit) const { return at(unit, known) != 0; }
  std::vector<int64_t> missing() const;
  int64_t redrawn() const { return sum(redrawn_images); }
  int64_t quarantined() const { return sum(quarantined_images); }
  /// Images of the units recorded.
  int64_t images(const UnitLayout& layout) const;
  data::ManifestEntry entry(const UnitLayout& layout, int64_t unit) const;

 private:
  enum Column : int64_t { known, bytes, hash_begin, hash_end, redrawn_images, quarantined_images, columns };
  int64_t at(int64_t unit, Column column) const { return values_.const_data_ptr<int64_t>()[unit * columns + column]; }
  int64_t sum(Column column) const;
  at::Tensor values_;  // [units, columns] int64
};

/// Replaces the manifest, unless it says the same. Every unit must be recorded.
void write_manifest(const UnitLayout& layout, const UnitTable& table);

}  // namespace syncdr::translate
