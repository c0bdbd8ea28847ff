#include "sealed_units.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/claims.h"
#include "syncdr/io/hash.h"

namespace syncdr::translate {
namespace {

// Sets lie in the dataset, which several runs may share.
constexpr const char* another_name =
    "choose a translate.run or a run.out with another last name (sets are called after them, and another run of that name may have made this one)";

/// Throws DataError unless the shard is of this run and its rows are the unit's images, in order and undamaged.
UnitRecord check_shard(const UnitLayout& layout, int64_t unit, const data::ShardReader& shard) {
  if (!shard.is_translation() || shard.header() != layout.header) throw core::DataError("{}: its attributes are not those of this run", shard.path().string());
  const auto expected = layout.images_of(unit);
  if (shard.rows() != expected) throw core::DataError("{}: has {} rows, not {}", shard.path().string(), shard.rows(), expected);
  UnitRecord record{.unit = unit};
  for (int64_t position = 0; position < expected; ++position) {
    const auto& found = shard.source(position);
    const auto source = layout.source_of(unit, position, found.status);
    if (found != source || shard.key(position) != source.key || shard.label(position) != layout.rows.label(layout.row_of(unit, position)))
      throw core::DataError("{}: row {} (\"{}\") is not variant {} of \"{}\"", shard.path().string(), position, found.key, source.variant, source.key);
    record.redrawn += found.status == redrawn;
    record.quarantined += found.status == quarantined;
    shard.encoded(position);  // compares the checksum; decoding would find nothing more
  }
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

CheckedUnit check_unit(const UnitLayout& layout, int64_t unit) {
  const auto path = layout.path_of(unit);
  if (!std::filesystem::exists(path)) return {};
  try {
    auto record = check_shard(layout, unit, data::ShardReader(path));
    record.entry = data::make_entry(layout.folder, layout.file_of(unit), layout.images_of(unit));
    const auto recorded = layout.hashes.find(record.entry.file);
    if (recorded != layout.hashes.end() && recorded->second != record.entry.hash)
      throw core::DataError("{}: its hash is {}, {} says {}", path.string(), record.entry.hash, manifest_name, recorded->second);
    return {true, std::move(record)};
  } catch (const core::DataError& error) {
    if (!std::filesystem::exists(path)) return {};  // another job has removed it just now
    io::hash_file(path);                            // throws IoError if it is the system that cannot read it: too many open files, a file server that is away
    core::warn("a damaged unit is made again: {}", error.what());
    return {true, std::nullopt};
  } catch (const std::filesystem::filesystem_error&) {
    if (!std::filesystem::exists(path)) return {};
    throw;
  }
}

UnitTable::UnitTable(int64_t units) : values_(at::zeros({units, columns}, at::kLong)) {}

void UnitTable::add(const UnitRecord& record) {
  const auto hash_half = [&](size_t half) { return static_cast<int64_t>(std::stoull(record.entry.hash.substr(16 * half, 16), nullptr, 16)); };
  const int64_t row[columns] = {1, record.entry.bytes, hash_half(0), hash_half(1), record.redrawn, record.quarantined};
  std::copy_n(row, columns, values_.data_ptr<int64_t>() + record.unit * columns);
}

void UnitTable::gather(comm::World& world, UnitTable& here) {
  world.all_reduce_sum(here.values_, "gathering the units' records");
  values_ += here.values_;
  SYNCDR_ASSERT(values_.numel() == 0 || values_.select(1, known).max().item<int64_t>() <= 1, "a unit was recorded twice");
}

std::vector<int64_t> UnitTable::missing() const {
  std::vector<int64_t> units;
  for (int64_t unit = 0; unit < values_.size(0); ++unit)
    if (!has(unit)) units.push_back(unit);
  return units;
}

int64_t UnitTable::images(const UnitLayout& layout) const {
  int64_t images = 0;
  for (int64_t unit = 0; unit < values_.size(0); ++unit) images += has(unit) ? layout.images_of(unit) : 0;
  return images;
}

int64_t UnitTable::sum(Column column) const { return values_.select(1, column).sum().item<int64_t>(); }

data::ManifestEntry UnitTable::entry(const UnitLayout& layout, int64_t unit) const {
  return {.file = layout.file_of(unit),
          .rows = layout.images_of(unit),
          .bytes = at(unit, bytes),
          .hash = fmt::format("{:016x}{:016x}", static_cast<uint64_t>(at(unit, hash_begin)), static_cast<uint64_t>(at(unit, hash_end)))};
}

void write_manifest(const UnitLayout& layout, const UnitTable& table) {
  const auto file = layout.folder / manifest_name;
  data::Manifest manifest{.kind = "translation", .name = layout.folder.filename().string(), .settings = layout.header.provenance};
  for (int64_t unit = 0; unit < layout.units(); ++unit) manifest.entries.push_back(table.entry(layout, unit));
  const auto text = manifest.text();
  // One that says the same stays as it is: another job may have written it long ago.
  if (!io::write_new_file(file, text, io::process_token()) && io::read_file(file) != text) io::write_file(file, text, io::process_token());
}

}  // namespace syncdr::translate
