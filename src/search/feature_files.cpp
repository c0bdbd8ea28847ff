#include "syncdr/search/feature_files.h"

#include <ATen/ops/empty.h>

#include <boost/json.hpp>
#include <chrono>
#include <map>
#include <thread>

#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/claims.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/hdf5.h"
#include "syncdr/io/json.h"

namespace syncdr::search {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char *index_format = "syncdr-embeddings", *file_format = "syncdr-embedding";
constexpr int64_t version = 1;

std::string hash_of(const at::Tensor& features) { return io::hash128({static_cast<const char*>(features.const_data_ptr()), features.nbytes()}); }

std::string hash_of(const std::vector<std::string>& names) {
  io::Hasher128 hasher;
  for (const std::string& name : names) hasher.add(name + '\0');
  return hasher.digest();
}

std::string hash_of(const std::vector<int32_t>& categories) {
  return io::hash128({reinterpret_cast<const char*>(categories.data()), categories.size() * sizeof(int32_t)});
}

std::string hash_of(const io::Identity& settings) { return io::hash128(json::serialize(io::to_json(settings))); }

FeaturePart read_part(const json::value& value, const fs::path& folder, const std::string& where) {
  const json::object& object = io::as_object(value, where);
  FeaturePart part{.file = io::json_string(object, "file", where),
                   .domain = io::json_string(object, "domain", where),
                   .split = io::json_string(object, "split", where),
                   .first = io::json_int(object, "first", where),
                   .rows = io::json_int(object, "rows", where)};
  if (part.first < 0 || part.rows < 1) throw core::DataError("{}: {}: {} rows from {} cannot be", where, part.file, part.rows, part.first);
  io::path_inside(folder, part.file, where);
  return part;
}

}  // namespace

FeatureIndex FeatureIndex::read(const fs::path& folder, bool with_files) {
  const fs::path file = folder / name;
  if (!fs::exists(file)) throw core::DataError("{}: is not there: `syncdr embed` makes features", file.string());
  const std::string where = file.string();
  const json::value content = io::read_json(file);
  const json::object& object = io::as_object(content, where);
  if (io::json_string(object, "format", where) != index_format || io::json_int(object, "version", where) != version)
    throw core::DataError("{}: is no list of features, or of another version than {}", where, version);
  FeatureIndex index{.model = io::json_string(object, "model", where), .settings = io::identity_in(object, where), .dim = io::json_int(object, "dim", where)};
  if (index.dim < 1 || index.dim > 65536) throw core::DataError("{}: \"dim\" is {}, it must lie between 1 and 65536", where, index.dim);
  for (const json::value& category : io::json_array(object, "categories", where)) {
    if (!category.is_string()) throw core::DataError("{}: \"categories\" holds what is no name", where);
    index.categories.emplace_back(category.get_string());
  }
  for (const json::value& part : io::json_array(object, "parts", where)) index.parts.push_back(read_part(part, folder, where));
  for (const FeaturePart& part : index.parts)
    if (with_files && !fs::is_regular_file(folder / part.file))
      throw core::DataError("{}: is missing, {} lists it. Run `syncdr embed` again: it makes what lacks", (folder / part.file).string(), where);
  return index;
}

std::string FeatureIndex::text() const {
  json::array listed;
  for (const FeaturePart& part : parts)
    listed.emplace_back(json::object{{"file", part.file}, {"domain", part.domain}, {"split", part.split}, {"first", part.first}, {"rows", part.rows}});
  return io::pretty_json(json::object{{"format", index_format},
                                      {"version", version},
                                      {"model", model},
                                      {"settings", io::to_json(settings)},
                                      {"dim", dim},
                                      {"normalised", true},
                                      {"categories", json::array(categories.begin(), categories.end())},
                                      {"parts", std::move(listed)}});
}

bool FeatureIndex::write_new(const fs::path& folder) const { return io::write_new_file(folder / name, text(), io::process_token()); }

void FeatureIndex::add(const fs::path& folder, const std::vector<FeaturePart>& made) {
  // Jobs that add in one instant take turns, or the later list would lack what the earlier has added.
  constexpr io::Milliseconds timeout(30'000);
  io::Claims turn(folder, "syncdr embed", timeout);
  io::ClaimedFolder others(folder, timeout);
  while (fs::exists(folder / name) && !turn.take(name)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    others.look();  // removes a claim whose owner has died
  }
  const FeatureIndex now = read(folder, /*with_files=*/false);
  io::expect_same(now.settings, settings, folder / name);
  std::map<std::string, FeaturePart> all;
  for (const FeaturePart& part : now.parts) all.emplace(part.file, part);
  for (const FeaturePart& part : made) all.insert_or_assign(part.file, part);
  parts.clear();
  for (auto& [file, part] : all) parts.push_back(std::move(part));
  io::write_file(folder / name, text(), io::process_token());
}

void write_features(const fs::path& folder, const FeaturePart& part, const io::Identity& settings, const FeatureRows& rows) {
  const at::Tensor features = rows.features.contiguous();
  SYNCDR_ASSERT(features.dim() == 2 && features.scalar_type() == at::kFloat && features.size(0) == part.rows && std::ssize(rows.names) == part.rows &&
                    std::ssize(rows.categories) == part.rows,
                "{} rows, {} names", part.rows, rows.names.size());
  std::vector<uint64_t> ids;
  for (const std::string& name : rows.names) ids.push_back(io::hash64(name));
  const auto* values = features.const_data_ptr<float>();
  io::AtomicFile file(folder / part.file, io::process_token());
  io::Hdf5Writer writer(file.temporary());
  writer.attribute("format", file_format);
  writer.attribute("version", version);
  writer.attribute("model", settings.at("model"));
  writer.attribute("settings_hash", hash_of(settings));
  writer.attribute("domain", part.domain);
  writer.attribute("split", part.split);
  writer.attribute("first", part.first);
  writer.attribute("rows", part.rows);
  writer.attribute("dim", features.size(1));
  writer.attribute("normalised", int64_t{1});
  writer.attribute("features_hash", hash_of(features));
  writer.attribute("name_hash", hash_of(rows.names));
  writer.attribute("category_hash", hash_of(rows.categories));
  writer.write("/features", std::vector<float>(values, values + features.numel()));
  writer.write("/id", ids);
  writer.write("/name", rows.names);
  writer.write("/category", rows.categories);
  writer.close();
  file.commit_unless_there();
}

FeatureFile::FeatureFile(const fs::path& folder, const FeaturePart& part, const io::Identity& settings, int64_t dim)
    : file_(folder / part.file), part_(part), dim_(dim) {
  const std::string where = file_.path().string();
  const io::Hdf5Reader hdf5(file_.path());
  const auto expect = [&](const char* name, const auto& found, const auto& wanted) {
    if (found != wanted) throw core::DataError("{}: its {} is {}, {} is needed. Remove it, and run `syncdr embed` again", where, name, found, wanted);
  };
  expect("format", hdf5.string_attribute("format"), std::string(file_format));
  expect("version", hdf5.int_attribute("version"), version);
  expect("model", hdf5.string_attribute("model"), settings.at("model"));
  expect("settings_hash", hdf5.string_attribute("settings_hash"), hash_of(settings));
  expect("domain", hdf5.string_attribute("domain"), part.domain);
  expect("split", hdf5.string_attribute("split"), part.split);
  expect("first", hdf5.int_attribute("first"), part.first);
  expect("rows", hdf5.int_attribute("rows"), part.rows);
  expect("dim", hdf5.int_attribute("dim"), dim);
  const io::Extent extent = hdf5.extent("/features");
  expect("number of bytes", extent.bytes, static_cast<uint64_t>(part.rows * dim) * sizeof(float));
  begin_ = extent.offset;
  hash_ = hdf5.string_attribute("features_hash");
}

at::Tensor FeatureFile::features() const {
  const at::Tensor features = at::empty({part_.rows, dim_}, at::kFloat);
  file_.read_at(begin_, {static_cast<uint8_t*>(features.data_ptr()), features.nbytes()});
  if (hash_of(features) != hash_)
    throw core::DataError("{}: its features do not match their hash: the file was damaged. Remove it, and run `syncdr embed` again", file_.path().string());
  return features;
}

template <class Value> std::vector<Value> FeatureFile::column(const std::string& name) const {
  const io::Hdf5Reader hdf5(file_.path());
  std::vector<Value> values = hdf5.read<Value>("/" + name);
  if (std::ssize(values) != part_.rows) throw core::DataError("{}: /{} has {} entries of {}", file_.path().string(), name, values.size(), part_.rows);
  const std::string hash = name + "_hash";  // which the first such files lack
  if (hdf5.has_attribute(hash) && hash_of(values) != hdf5.string_attribute(hash))
    throw core::DataError("{}: /{} does not match its hash: the file was damaged or changed. Remove it, and run `syncdr embed` again", file_.path().string(),
                          name);
  return values;
}

std::vector<std::string> FeatureFile::names() const { return column<std::string>("name"); }
std::vector<int32_t> FeatureFile::categories() const { return column<int32_t>("category"); }

}  // namespace syncdr::search
