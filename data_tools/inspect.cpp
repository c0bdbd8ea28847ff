#include <boost/json.hpp>
#include <map>

#include "commands.h"
#include "runs.h"
#include "syncdr/core/error.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/json.h"

/// syncdr-data inspect: what a dataset or a shard holds, without decoding it.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

boost::json::object as_json(const std::map<std::string, std::string>& map) {
  boost::json::object object;
  for (const auto& [name, value] : map) object[name] = value;
  return object;
}

boost::json::object describe_shard(const fs::path& path) {
  const data::ShardReader shard(path);
  const data::ShardHeader& header = shard.header();
  return {{"file", path.string()},
          {"kind", shard.is_translation() ? "translation" : "real"},
          {"domain", header.domain},
          {"split", header.split},
          {"codec", data::codec_name(header.codec)},
          {"height", header.height},
          {"width", header.width},
          {"rows", shard.rows()},
          {"bytes", fs::file_size(path)},
          {"provenance", as_json(header.provenance)}};
}

/// One line of the table: shards of one domain and split.
struct Part {
  int64_t shards = 0, rows = 0, bytes = 0;
  std::string codec;
  int64_t height = 0, width = 0;
};

boost::json::array describe_real(const fs::path& root, const data::Manifest& manifest) {
  std::map<std::pair<std::string, std::string>, Part> parts;
  for (const data::ManifestEntry& entry : manifest.entries) {
    const data::ShardReader shard(root / entry.file);
    Part& part = parts[{shard.header().domain, shard.header().split}];
    part.shards += 1;
    part.rows += entry.rows;
    part.bytes += entry.bytes;
    part.codec = data::codec_name(shard.header().codec);
    part.height = shard.header().height;
    part.width = shard.header().width;
  }
  boost::json::array list;
  for (const auto& [name, part] : parts) {
    list.push_back({{"domain", name.first},
                    {"split", name.second},
                    {"shards", part.shards},
                    {"rows", part.rows},
                    {"bytes", part.bytes},
                    {"codec", part.codec},
                    {"height", part.height},
                    {"width", part.width}});
  }
  return list;
}

boost::json::array describe_runs(const fs::path& root) {
  boost::json::array list;
  for (const fs::path& file : translation_manifests(root)) {
    const data::Manifest run = data::Manifest::read(file);
    int64_t rows = 0, bytes = 0;
    for (const data::ManifestEntry& entry : run.entries) {
      rows += entry.rows;
      bytes += entry.bytes;
    }
    list.push_back({{"folder", file.parent_path().lexically_relative(root).generic_string()},
                    {"units", run.entries.size()},
                    {"rows", rows},
                    {"bytes", bytes},
                    {"settings", as_json(run.settings)}});
  }
  return list;
}

boost::json::object describe_dataset(const fs::path& root) {
  const data::Dataset dataset(root);
  const data::Manifest& manifest = dataset.manifest();
  return {{"folder", root.string()},
          {"kind", manifest.kind},
          {"name", manifest.name},
          {"domains", boost::json::array(manifest.domains.begin(), manifest.domains.end())},
          {"settings", as_json(manifest.settings)},
          {"real", describe_real(root, manifest)},
          {"translations", describe_runs(root)}};
}

std::string size_text(const boost::json::object& part) {
  return part.at("height").as_int64() == 0 ? "mixed" : fmt::format("{}x{}", part.at("width").as_int64(), part.at("height").as_int64());
}

std::string text(const boost::json::object& object, const char* name) { return std::string(object.at(name).as_string()); }

void print_settings(const boost::json::object& settings, const char* indent) {
  for (const auto& item : settings) fmt::print("{}{}: {}\n", indent, std::string(item.key()), std::string(item.value().as_string()));
}

void print_dataset(const boost::json::object& all) {
  fmt::print("{} \"{}\" in {}\n", text(all, "kind"), text(all, "name"), text(all, "folder"));
  print_settings(all.at("settings").as_object(), "  ");
  fmt::print("{:20} {:6} {:>7} {:>10} {:>14} {:>6} {:>11}\n", "domain", "split", "shards", "images", "bytes", "codec", "pixels");
  for (const auto& item : all.at("real").as_array()) {
    const auto& part = item.as_object();
    fmt::print("{:20} {:6} {:>7} {:>10} {:>14} {:>6} {:>11}\n", text(part, "domain"), text(part, "split"), part.at("shards").as_int64(),
               part.at("rows").as_int64(), part.at("bytes").as_int64(), text(part, "codec"), size_text(part));
  }
  for (const auto& item : all.at("translations").as_array()) {
    const auto& run = item.as_object();
    fmt::print("{}: {} units, {} images, {} bytes\n", text(run, "folder"), run.at("units").to_number<int64_t>(), run.at("rows").as_int64(),
               run.at("bytes").as_int64());
    print_settings(run.at("settings").as_object(), "  ");
  }
}

}  // namespace

void inspect(const InspectOptions& options) {
  const bool is_file = fs::is_regular_file(options.path);
  const boost::json::object all = is_file ? describe_shard(options.path) : describe_dataset(options.path);
  if (is_file) {
    fmt::print("{}", io::pretty_json(all));
  } else {
    print_dataset(all);
  }
  if (!options.json.empty()) io::write_json(options.json, all);
}

}  // namespace syncdr::data_tools
