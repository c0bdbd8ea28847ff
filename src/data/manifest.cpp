#include <boost/json.hpp>
#include <set>

#include "syncdr/core/error.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/json.h"

namespace syncdr::data {
namespace {

constexpr const char* format = "syncdr-manifest";
constexpr int64_t version = 1;
constexpr size_t max_path = 4096;  // Linux has no longer ones, and a pattern that names are matched with takes stack for each character

ManifestEntry read_entry(const boost::json::value& value, const std::filesystem::path& folder, const std::string& where) {
  const boost::json::object& object = io::as_object(value, where);
  ManifestEntry entry{io::json_string(object, "file", where), io::json_int(object, "rows", where), io::json_int(object, "bytes", where),
                      io::json_string(object, "hash", where)};
  if (entry.file.size() > max_path) throw core::DataError("{}: \"file\" has {} bytes, at most {} are possible", where, entry.file.size(), max_path);
  io::path_inside(folder, entry.file, where);
  if (entry.rows < 0 || entry.bytes < 0) throw core::DataError("{}: {} rows, {} bytes cannot be", where, entry.rows, entry.bytes);
  if (entry.hash.size() != 32) throw core::DataError("{}: \"hash\" has not 32 digits", where);
  return entry;
}

std::vector<std::string> read_domains(const boost::json::object& root, const std::string& where) {
  std::vector<std::string> domains;
  for (const boost::json::value& item : io::json_array(root, "domains", where)) {
    if (!item.is_string()) throw core::DataError("{}: \"domains\" holds something else than strings", where);
    domains.emplace_back(item.get_string());
    check_name(domains.back(), "domain", where);
  }
  return domains;
}

}  // namespace

void check_name(const std::string& name, const char* what, const std::string& where) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
    throw core::DataError("{}: \"{}\" cannot be the name of a {}: it becomes the name of a folder", where, name, what);
  }
}

Manifest Manifest::read(const std::filesystem::path& file) {
  const std::string where = file.string();
  const boost::json::value document = io::read_json(file);
  const boost::json::object& root = io::as_object(document, where);
  if (io::json_string(root, "format", where) != format) throw core::DataError("{}: is no manifest of syncdr", where);
  const int64_t found = io::json_int(root, "version", where);
  if (found != version) throw core::DataError("{}: has format version {}, this release reads {}", where, found, version);
  Manifest manifest{.kind = io::json_string(root, "kind", where), .name = io::json_string(root, "name", where)};
  manifest.domains = read_domains(root, where);
  manifest.settings = io::json_texts(io::json_object(root, "settings", where), where + ": settings");
  std::set<std::string> files;
  for (const boost::json::value& item : io::json_array(root, "entries", where)) {
    manifest.entries.push_back(read_entry(item, file.parent_path(), fmt::format("{}: entry {}", where, manifest.entries.size())));
    if (!files.insert(manifest.entries.back().file).second) throw core::DataError("{}: \"{}\" occurs twice", where, manifest.entries.back().file);
  }
  return manifest;
}

void Manifest::write(const std::filesystem::path& file) const { io::write_file(file, text()); }

std::string Manifest::text() const {
  boost::json::array list;
  for (const ManifestEntry& entry : entries) {
    list.push_back({{"file", entry.file}, {"rows", entry.rows}, {"bytes", entry.bytes}, {"hash", entry.hash}});
  }
  const boost::json::array names(domains.begin(), domains.end());
  return io::pretty_json(
      {{"format", format}, {"version", version}, {"kind", kind}, {"name", name}, {"domains", names}, {"settings", io::to_json(settings)}, {"entries", list}});
}

ManifestEntry make_entry(const std::filesystem::path& folder, const std::string& file, int64_t rows) {
  const std::filesystem::path path = folder / file;
  return {file, rows, static_cast<int64_t>(std::filesystem::file_size(path)), io::hash_file(path)};
}

void check_entry(const std::filesystem::path& folder, const ManifestEntry& entry, bool hash) {
  const std::filesystem::path path = io::path_inside(folder, entry.file, folder.string());
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) throw core::DataError("{}: {}; the manifest beside it lists the file", path.string(), error.message());
  if (!std::cmp_equal(bytes, entry.bytes)) throw core::DataError("{}: has {} bytes, the manifest says {}", path.string(), bytes, entry.bytes);
  if (!hash) return;
  const std::string found = io::hash_file(path);
  if (found != entry.hash)
    throw core::DataError("{}: its hash is {}, the manifest says {}. The file was changed or damaged.", path.string(), found, entry.hash);
}

}  // namespace syncdr::data
