#pragma once
#include <optional>

#include "plan.h"
#include "syncdr/io/identity.h"

namespace syncdr::translate {

inline constexpr const char* manifest_name = "translation.json";

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
CheckedUnit check_unit(const Plan& plan, int64_t unit);

}  // namespace syncdr::translate
