#include "sealed_units.h"

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/claims.h"
#include "syncdr/io/hash.h"

namespace syncdr::translate {
namespace {

constexpr const char* another_name = "give the run another name (translate.run)";

void check_header(const Plan& plan, const data::ShardReader& shard) {
  const auto& found = shard.header();
  const auto& header = plan.header;
  if (!shard.is_translation() || found.domain != header.domain || found.split != header.split || found.codec != header.codec ||
      found.height != header.height || found.width != header.width || found.provenance != header.provenance)
    throw core::DataError("{}: its attributes are not those of this run", shard.path().string());
}

/// Throws DataError unless the shard's rows are the unit's images, in order and undamaged.
UnitRecord check_rows(const Plan& plan, int64_t unit, const data::ShardReader& shard) {
  const auto expected = plan.images_of(unit);
  if (shard.rows() != expected) throw core::DataError("{}: has {} rows, not {}", shard.path().string(), shard.rows(), expected);
  UnitRecord record{.unit = unit};
  for (int64_t position = 0; position < expected; ++position) {
    const auto& found = shard.source(position);
    const auto source = plan.source_of(unit, position, found.status);
    if (found != source || shard.key(position) != source.key || shard.label(position) != plan.rows.label(plan.row_of(unit, position)) ||
        found.status < good || found.status > quarantined)
      throw core::DataError("{}: row {} (\"{}\") is not variant {} of \"{}\"", shard.path().string(), position, found.key, source.variant, source.key);
    record.redrawn += found.status == redrawn;
    record.quarantined += found.status == quarantined;
  }
  for (int64_t position = 0; position < expected; ++position) shard.encoded(position);  // compares the checksum; decoding would find nothing more
  return record;
}

/// A folder whose run.json was lost may hold somebody's work.
void check_orphans(const std::filesystem::path& folder, const io::Identity& settings) {
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const auto name = file.path().filename().string();
    if (!name.starts_with("unit-") || !name.ends_with(".h5")) continue;
    try {
      io::expect_same(data::ShardReader(file.path()).header().provenance, settings, file.path(), another_name);
    } catch (const core::DataError&) {
      continue;  // damaged: nobody's
    }
  }
}

}  // namespace

void claim_folder(const std::filesystem::path& folder, const io::Identity& settings) {
  const auto file = folder / "run.json";
  if (!std::filesystem::exists(file)) {
    std::filesystem::create_directories(folder);
    check_orphans(folder, settings);
    const data::Manifest manifest{.kind = "translation", .name = folder.filename().string(), .settings = settings};
    if (io::write_new_file(file, manifest.text(), io::process_token())) return;
  }
  io::expect_same(data::Manifest::read(file).settings, settings, file, another_name);
}

std::map<std::string, std::string> recorded_hashes(const std::filesystem::path& folder) {
  std::map<std::string, std::string> hashes;
  if (!std::filesystem::exists(folder / manifest_name)) return hashes;
  try {
    for (const auto& entry : data::Manifest::read(folder / manifest_name).entries) hashes[entry.file] = entry.hash;
  } catch (const core::DataError& error) {
    core::warn("a damaged manifest will be replaced: {}", error.what());
  }
  return hashes;
}

CheckedUnit check_unit(const Plan& plan, int64_t unit) {
  const auto path = plan.path_of(unit);
  if (!std::filesystem::exists(path)) return {};
  try {
    UnitRecord record;
    {
      const data::ShardReader shard(path);
      check_header(plan, shard);
      record = check_rows(plan, unit, shard);
    }
    record.entry = data::make_entry(plan.folder, plan.file_of(unit), plan.images_of(unit));
    const auto recorded = plan.hashes.find(record.entry.file);
    if (recorded != plan.hashes.end() && recorded->second != record.entry.hash)
      throw core::DataError("{}: its hash is {}, {} says {}", path.string(), record.entry.hash, manifest_name, recorded->second);
    return {true, std::move(record)};
  } catch (const core::DataError& error) {
    if (!std::filesystem::exists(path)) return {};  // another job has removed it just now
    io::hash_file(path);  // throws IoError if it is the system that cannot read it: too many open files, a file server that is away
    core::warn("a damaged unit is made again: {}", error.what());
    return {true, std::nullopt};
  } catch (const std::filesystem::filesystem_error&) {
    if (!std::filesystem::exists(path)) return {};
    throw;
  }
}

}  // namespace syncdr::translate
