#include "syncdr/data/dataset.h"

#include <algorithm>
#include <regex>
#include <set>

#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"

namespace syncdr::data {
namespace {

/// What the name of a real shard says: "real/DOMAIN/SPLIT-00002-of-00007.h5". Empty domain: it is none.
struct RealName {
  std::string domain, split;
  int64_t index = 0, count = 0;
};

RealName parse_real(const std::string& file) {
  static const std::regex form("real/([^/]+)/([^/]+)-([0-9]{5,9})-of-([0-9]{5,9})\\.h5");
  std::smatch part;
  if (!std::regex_match(file, part, form)) return {};
  return {part[1], part[2], std::stoll(part[3]), std::stoll(part[4])};
}

void check_kind(const Manifest& manifest, const std::string& kind, const std::filesystem::path& file) {
  if (manifest.kind != kind) throw core::DataError("{}: is the manifest of a {}, not of a {}", file.string(), manifest.kind, kind);
}

/// The shards of the entries, each with the rows that its entry states and the look and split that are asked for.
ShardList open_shards(const std::filesystem::path& folder, const std::vector<ManifestEntry>& entries, const std::string& domain, bool translation) {
  std::vector<std::filesystem::path> paths;
  for (const ManifestEntry& entry : entries) paths.push_back(io::path_inside(folder, entry.file, folder.string()));
  ShardList list(paths);
  for (int64_t i = 0; i < list.shards(); ++i) {
    const ShardReader& shard = list.shard(i);
    const int64_t stated = entries[static_cast<size_t>(i)].rows;
    if (shard.rows() != stated) throw core::DataError("{}: has {} rows, the manifest says {}", shard.path().string(), shard.rows(), stated);
    if (shard.header().domain != domain) throw core::DataError("{}: holds domain \"{}\", not \"{}\"", shard.path().string(), shard.header().domain, domain);
    if (shard.is_translation() != translation) {
      throw core::DataError("{}: {}", shard.path().string(), translation ? "holds real images, no translations" : "holds translations, no real images");
    }
  }
  return list;
}

}  // namespace

ShardList::ShardList(const std::vector<std::filesystem::path>& files) : starts_{0} {
  for (const std::filesystem::path& file : files) {
    readers_.emplace_back(file);
    starts_.push_back(starts_.back() + readers_.back().rows());
    if (readers_.back().header().split != readers_.front().header().split) {
      throw core::DataError("{}: holds split \"{}\", {} holds \"{}\"", file.string(), readers_.back().header().split, files.front().string(),
                            readers_.front().header().split);
    }
  }
}

std::pair<int64_t, int64_t> ShardList::locate(int64_t row) const {
  SYNCDR_ASSERT(row >= 0 && row < rows(), "row {} of {}", row, rows());
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), row);  // skips empty shards: their start equals the next
  const int64_t shard = after - starts_.begin() - 1;
  return {shard, row - starts_[static_cast<size_t>(shard)]};
}

std::string ShardList::key(int64_t row) const {
  const auto [shard_index, shard_row] = locate(row);
  return shard(shard_index).key(shard_row);
}

int32_t ShardList::label(int64_t row) const {
  const auto [shard_index, shard_row] = locate(row);
  return shard(shard_index).label(shard_row);
}

Place ShardList::place(int64_t row) const {
  const auto [shard_index, shard_row] = locate(row);
  return {&shard(shard_index), shard_row};
}

Dataset::Dataset(std::filesystem::path root) : root_(std::move(root)) {
  const std::filesystem::path file = root_ / "dataset.json";
  if (!std::filesystem::exists(file)) {
    throw core::DataError("{}: is missing. Make a dataset with \"syncdr-data pack\"; if packing was interrupted, run it again.", file.string());
  }
  manifest_ = Manifest::read(file);
  check_kind(manifest_, "dataset", file);
  for (const ManifestEntry& entry : manifest_.entries) check_entry(root_, entry, false);
}

ShardList Dataset::real(const std::string& domain, const std::string& split) const {
  std::map<int64_t, ManifestEntry> found;  // by index
  std::set<std::string> others;
  int64_t count = 0;
  for (const ManifestEntry& entry : manifest_.entries) {
    const RealName name = parse_real(entry.file);
    if (name.domain.empty()) continue;
    others.insert(name.domain + "/" + name.split);
    if (name.domain != domain || name.split != split) continue;
    if (count != 0 && name.count != count) throw core::DataError("{}: {} belongs to another number of shards than {}", root_.string(), entry.file, count);
    count = name.count;
    found[name.index] = entry;
  }
  if (found.empty()) throw core::DataError("{}: there is no {}/{}. There are: {}.", root_.string(), domain, split, fmt::join(others, ", "));
  std::vector<ManifestEntry> entries;
  for (const auto& [index, entry] : found) {
    if (index != static_cast<int64_t>(entries.size())) break;
    entries.push_back(entry);
  }
  if (static_cast<int64_t>(entries.size()) != count || entries.size() != found.size()) {
    throw core::DataError("{}: shard {} of {} of {}/{} is missing from dataset.json", root_.string(), entries.size(), count, domain, split);
  }
  ShardList list = open_shards(root_, entries, domain, false);
  const std::string& inside = list.shard(0).header().split;
  if (inside != split) throw core::DataError("{}: holds split \"{}\", not \"{}\"", list.shard(0).path().string(), inside, split);
  return list;
}

bool Dataset::has(const std::string& domain, const std::string& split) const {
  return std::any_of(manifest_.entries.begin(), manifest_.entries.end(), [&](const ManifestEntry& entry) {
    const RealName name = parse_real(entry.file);
    return name.domain == domain && name.split == split;
  });
}

std::filesystem::path Dataset::synthetic_folder(const std::string& source, const std::string& target, const std::string& run) const {
  for (const std::string& domain : {source, target}) {
    if (std::find(manifest_.domains.begin(), manifest_.domains.end(), domain) == manifest_.domains.end()) {
      throw core::DataError("{}: has no domain \"{}\". It has: {}.", root_.string(), domain, fmt::join(manifest_.domains, ", "));
    }
  }
  check_name(run, "run", root_.string());
  return root_ / "synthetic" / (source + "-to-" + target) / run;
}

ShardList Dataset::synthetic(const std::string& source, const std::string& target, const std::string& run) const {
  const std::filesystem::path folder = synthetic_folder(source, target, run), file = folder / "translation.json";
  if (!std::filesystem::exists(file)) {
    throw core::DataError("{}: is missing: the translation \"{}\" from {} to {} was not made or is not finished. Run \"syncdr translate\".", file.string(), run,
                          source, target);
  }
  const Manifest manifest = Manifest::read(file);
  check_kind(manifest, "translation", file);
  const auto made_from = manifest.settings.find("dataset");
  if (made_from == manifest.settings.end())
    throw core::DataError("{}: the setting \"dataset\" is missing: it cannot be told what it was made from", file.string());
  if (made_from->second != io::hash_file(root_ / "dataset.json")) {
    throw core::DataError("{}: was made from another dataset than {}. Translate again under another name.", file.string(), root_.string());
  }
  if (manifest.entries.empty()) throw core::DataError("{}: lists no units: the translation is not complete", file.string());
  for (const ManifestEntry& entry : manifest.entries) check_entry(folder, entry, false);
  return open_shards(folder, manifest.entries, target, true);
}

}  // namespace syncdr::data
