#include "sealed_units.h"

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/io/hash.h"

namespace syncdr::translate {
namespace {

std::string value_of(const Settings& settings, const std::string& name) {
  const auto found = settings.find(name);
  return found == settings.end() ? "not set" : '"' + found->second + '"';
}

/// `where` holds what was made with `there`; this run has `here`.
void expect_same(const Settings& there, const Settings& here, const std::filesystem::path& where) {
  Settings names = there;
  names.insert(here.begin(), here.end());
  for (const auto& [name, ignored] : names) {
    const auto old_value = value_of(there, name), new_value = value_of(here, name);
    if (old_value != new_value)
      throw core::UsageError("{} was made with {} {}, this run has {}. Give the run another name (translate.run) or remove its folder", where.string(),
                             name, old_value, new_value);
  }
}

/// Throws DataError unless the shard's rows are the unit's images, in order and undamaged.
UnitRecord check_rows(const Plan& plan, int64_t unit, const data::ShardReader& shard) {
  const auto expected = plan.images_of(unit);
  if (!shard.is_translation() || shard.rows() != expected)
    throw core::DataError("{}: {} rows, not {}", shard.path().string(), shard.rows(), expected);
  UnitRecord record{.unit = unit};
  for (int64_t position = 0; position < expected; ++position) {
    const auto& found = shard.source(position);
    const auto source = plan.source_of(unit, position, found.status);
    if (found.key != source.key || shard.key(position) != source.key || found.shard != source.shard || found.row != source.row ||
        found.variant != source.variant || found.seed != source.seed || found.status < good || found.status > quarantined)
      throw core::DataError("{}: row {} (\"{}\") is not variant {} of \"{}\"", shard.path().string(), position, found.key, source.variant, source.key);
    record.redrawn += found.status == redrawn;
    record.quarantined += found.status == quarantined;
  }
  shard.verify();
  return record;
}

}  // namespace

void claim_folder(const std::filesystem::path& folder, const Settings& settings) {
  const auto file = folder / "run.json";
  if (std::filesystem::exists(file)) {
    expect_same(data::Manifest::read(file).settings, settings, file);
    return;
  }
  std::filesystem::create_directories(folder);
  data::Manifest{.kind = "translation", .name = folder.filename().string(), .settings = settings}.write(file);
}

data::ManifestEntry entry_of(const Plan& plan, int64_t unit) {
  const auto path = plan.path_of(unit);
  return {.file = plan.file_of(unit),
          .rows = plan.images_of(unit),
          .bytes = static_cast<int64_t>(std::filesystem::file_size(path)),
          .hash = io::hash_file(path)};
}

std::optional<UnitRecord> check_unit(const Plan& plan, int64_t unit) {
  const auto path = plan.path_of(unit);
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    const data::ShardReader shard(path);
    expect_same(shard.header().provenance, plan.header.provenance, path);
    auto record = check_rows(plan, unit, shard);
    record.entry = entry_of(plan, unit);
    return record;
  } catch (const core::DataError& error) {
    core::warn("a damaged unit is made again: {}", error.what());
    std::filesystem::remove(path);
    return std::nullopt;
  }
}

}  // namespace syncdr::translate
