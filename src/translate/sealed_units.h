#pragma once
#include <optional>

#include "plan.h"

namespace syncdr::translate {

using Settings = std::map<std::string, std::string>;

/// Records the settings in the run's folder (run.json) before anything is made there. Throws UsageError naming the first setting that differs, with both
/// values, if the folder holds a run made with others.
void claim_folder(const std::filesystem::path& folder, const Settings& settings);

/// The unit if it is sealed and whole: structure, every CRC, keys and variants equal to the source's. A file that is not is removed with a warning.
/// Throws UsageError if a whole unit was made with other settings: that is somebody's work, not damage.
std::optional<UnitRecord> check_unit(const Plan& plan, int64_t unit);

/// What the manifest says of a unit that was just sealed.
data::ManifestEntry entry_of(const Plan& plan, int64_t unit);

}  // namespace syncdr::translate
