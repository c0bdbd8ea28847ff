#include "syncdr/diffusion/checkpoint.h"

#include <boost/json.hpp>
#include <iterator>
#include <regex>
#include <sstream>

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/some_of.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"

namespace syncdr::diffusion {
namespace json = boost::json;
namespace fs = std::filesystem;
namespace {

/// A value for a message, cut where it gets long.
std::string shown(const json::value& value) {
  if (value.is_double()) return fmt::format("{}", value.get_double());  // 0.5; Boost writes 5E-1
  const std::string text = json::serialize(value);
  return text.size() <= 100 ? text : text.substr(0, 100) + "...";
}

/// Equal as Python compares what a configuration holds: 1 equals 1.0. What is off may be written false or null.
bool same(const json::value& a, const json::value& b) {
  const auto off = [](const json::value& value) { return value.is_null() || (value.is_bool() && !value.get_bool()); };
  if (off(a) && off(b)) return true;
  if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();
  if (!a.is_array() || !b.is_array()) return a == b;
  const json::array &x = a.get_array(), &y = b.get_array();
  return x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(), same);
}

/// A name from a file or a caller that must stay in its folder. Symbolic links are followed: download caches are made of them.
void check_plain_name(const std::string& name, const std::string& where) {
  if (name.empty() || name == "." || name == ".." || name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
    throw core::DataError("{}: \"{}\" is not the plain name of something in this folder", where, name);
}

/// The file of each tensor.
std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const std::string where = index.string();
  const json::value content = io::read_json(index);
  std::map<std::string, std::string> files;
  for (const auto& item : io::json_object(io::as_object(content, where), "weight_map", where)) {
    const std::string tensor(item.key());
    const json::string* file = item.value().if_string();
    if (!file) throw core::DataError("{}: weight_map: \"{}\" is not mapped to a file's name", where, tensor);
    check_plain_name(std::string(*file), where);
    files.emplace(tensor, *file);
  }
  return files;
}

io::NamedTensors read_shards(const fs::path& folder, const fs::path& index) {
  const auto weight_map = read_weight_map(index);
  std::set<std::string> files;
  for (const auto& [tensor, file] : weight_map) files.insert(file);
  io::NamedTensors all;
  std::set<std::string> unread;
  for (const std::string& file : files) {
    if (!fs::exists(folder / file)) throw core::DataError("{}: the shard \"{}\" is missing. Download the folder again.", index.string(), file);
    const io::Safetensors shard = io::read_safetensors(folder / file);
    unread.insert(shard.unread.begin(), shard.unread.end());
    for (const auto& [name, tensor] : shard.tensors) {
      const auto listed = weight_map.find(name);
      if (listed == weight_map.end() || listed->second != file)
        throw core::DataError("{}: holds \"{}\", which {} does not list for it", (folder / file).string(), name, index.filename().string());
      all.emplace(name, tensor);
    }
  }
  for (const auto& [tensor, file] : weight_map) {
    if (!all.contains(tensor) && !unread.contains(tensor))
      throw core::DataError("{}: lacks \"{}\", which {} lists for it", (folder / file).string(), tensor, index.filename().string());
  }
  return all;
}

/// What the user may have downloaded in place of the weights that are wanted: safetensors first, all shards of a kind as one.
std::string weights_present(const fs::path& folder) {
  static const std::regex shard("-[0-9]+-of-");
  std::set<std::pair<bool, std::string>> found;  // others than safetensors are true and come last
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string suffix = entry.path().extension().string();
    for (const char* known : {".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".gguf"}) {
      if (suffix == known) found.emplace(suffix != ".safetensors", std::regex_replace(entry.path().filename().string(), shard, "-*-of-"));
    }
  }
  if (found.empty()) return "The folder holds no weights.";
  std::vector<std::string> names;
  for (const auto& [other, name] : found) names.push_back(name);
  return fmt::format("The folder holds {}; only safetensors are read, shards with their index, and of a variant only if it is named.", core::some_of(names));
}

/// The single file of a component's weights, and the index that lists them where they are shards.
struct WeightFiles {
  WeightFiles(const fs::path& folder, const std::string& stem, const std::string& variant) {
    const std::string infix = variant.empty() ? "" : "." + variant;
    whole = folder / (stem + infix + ".safetensors");
    index = folder / (stem + ".safetensors.index" + infix + ".json");
  }
  bool are_there() const { return fs::exists(whole) || fs::exists(index); }

  fs::path whole, index;
};

/// The variants of which a component has weights: "fp16" of unet/X.fp16.safetensors, or of unet/X.safetensors.index.fp16.json.
std::set<std::string> variants_in(const fs::path& root, const std::map<std::string, std::string>& components) {
  static const std::regex pattern(R"([^.]+\.(?:([^.]+)\.safetensors|safetensors\.index\.([^.]+)\.json))"), shard("[0-9]+-of-[0-9]+");
  std::set<std::string> variants;
  for (const auto& [component, name] : components) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(root / component, ignored)) {
      const std::string file = entry.path().filename().string();
      std::smatch match;
      if (std::regex_match(file, match, pattern) && !std::regex_search(file, shard)) variants.insert(match[1].matched ? match[1] : match[2]);
    }
  }
  return variants;
}

}  // namespace

ConfigReader::ConfigReader(const fs::path& file) : where_(file.string()) {
  const json::value content = io::read_json(file);
  fields_ = io::as_object(content, where_);
}

ConfigReader::ConfigReader(json::object fields, std::string where) : fields_(std::move(fields)), where_(std::move(where)) {}

void ConfigReader::refuse(const char* name, const std::string& why) const { throw core::DataError("{}: \"{}\" {}", where_, name, why); }

const json::value* ConfigReader::find(const char* name, bool (json::value::*is)() const, const char* kind) {
  seen_.insert(name);
  if (!has(name)) return nullptr;
  const json::value& value = fields_.at(name);
  if (!(value.*is)()) refuse(name, fmt::format("is {}, not {}", shown(value), kind));
  return &value;
}

int64_t ConfigReader::integer(const char* name, int64_t fallback) {
  const json::value* value = find(name, &json::value::is_int64, "an integer");
  return value ? value->get_int64() : fallback;
}

int64_t ConfigReader::integer(const char* name, int64_t fallback, int64_t low, int64_t high) {
  const int64_t value = integer(name, fallback);
  check_range(name, value, low, high);
  return value;
}

double ConfigReader::number(const char* name, double fallback) {
  const json::value* value = find(name, &json::value::is_number, "a number");
  return value ? value->to_number<double>() : fallback;
}

bool ConfigReader::boolean(const char* name, bool fallback) {
  const json::value* value = find(name, &json::value::is_bool, "true or false");
  return value ? value->get_bool() : fallback;
}

std::string ConfigReader::text(const char* name, const std::string& fallback) {
  const json::value* value = find(name, &json::value::is_string, "a string");
  return value ? std::string(value->get_string()) : fallback;
}

std::vector<int64_t> ConfigReader::integers(const char* name, const std::vector<int64_t>& fallback) {
  const json::value* value = find(name, &json::value::is_array, "a list of integers");
  if (!value) return fallback;
  std::vector<int64_t> values;
  for (const json::value& item : value->get_array()) {
    if (!item.is_int64()) refuse(name, fmt::format("holds {}, not an integer", shown(item)));
    values.push_back(item.get_int64());
  }
  return values;
}

std::vector<std::string> ConfigReader::texts(const char* name, const std::vector<std::string>& fallback) {
  const json::value* value = find(name, &json::value::is_array, "a list of strings");
  if (!value) return fallback;
  std::vector<std::string> values;
  for (const json::value& item : value->get_array()) {
    if (!item.is_string()) refuse(name, fmt::format("holds {}, not a string", shown(item)));
    values.emplace_back(item.get_string());
  }
  return values;
}

std::vector<int64_t> ConfigReader::per_level(const char* name, size_t count, int64_t fallback) {
  const json::value* value = fields_.if_contains(name);
  if (!value || !value->is_array()) return std::vector<int64_t>(count, integer(name, fallback));
  std::vector<int64_t> values = integers(name, {});
  if (values.size() != count) refuse(name, fmt::format("has {} values for {} levels", values.size(), count));
  return values;
}

void ConfigReader::only(const char* name, const json::value& supported) {
  seen_.insert(name);
  const json::value* value = fields_.if_contains(name);
  if (value && !same(*value, supported)) refuse(name, fmt::format("is {}; only {} is supported", shown(*value), shown(supported)));
}

void ConfigReader::ignore(const std::string& names) {
  std::istringstream words(names);
  seen_.insert(std::istream_iterator<std::string>(words), {});
}

void ConfigReader::refuse_null(const char* name) const {
  if (fields_.contains(name) && !has(name)) refuse(name, "is null, which is not supported");
}

void ConfigReader::check_range(const char* name, int64_t value, int64_t low, int64_t high) const {
  if (value < low || value > high) refuse(name, fmt::format("is {}; it must lie between {} and {}", value, low, high));
}

bool ConfigReader::has(const char* name) const {
  const json::value* value = fields_.if_contains(name);
  return value && !value->is_null();
}

void ConfigReader::finish() const {
  for (const auto& field : fields_) {
    const std::string name(field.key());
    if (name.starts_with("_") || seen_.contains(name)) continue;
    throw core::DataError("{}: the field \"{}\" ({}) is not known; a model that needs it would compute something else here", where_, name,
                          shown(field.value()));
  }
}

CheckpointFolder::CheckpointFolder(fs::path root, std::string variant) : root_(std::move(root)), variant_(std::move(variant)) {
  if (!variant_.empty()) check_plain_name(variant_, "variant");
  const fs::path file = root_ / "model_index.json";
  if (!fs::exists(file))
    throw core::DataError(
        "{}: there is no model_index.json; this is no checkpoint folder in the layout of diffusers. Of the authors' single file syncdr-data convert --as "
        "stable-diffusion makes one",
        root_.string());
  const json::value content = io::read_json(file);
  const json::object& index = io::as_object(content, file.string());
  if (!index.contains("_class_name")) throw core::DataError("{}: \"_class_name\" is missing", file.string());
  const json::value& pipeline = index.at("_class_name");
  pipeline_ = pipeline.is_string() ? std::string(pipeline.get_string()) : shown(pipeline);  // one of somebody's own is [file, class]
  for (const auto& item : index) {
    const json::array* pair = item.value().if_array();  // [library, class]; [null, null] if the pipeline goes without; others are settings
    if (pair && pair->size() == 2 && (*pair)[0].is_string() && (*pair)[1].is_string()) classes_.emplace(item.key(), (*pair)[1].get_string());
  }
  if (variant_.empty()) return;
  if (const auto variants = variants_in(root_, classes_); !variants.contains(variant_)) {
    throw core::DataError("{}: no component has safetensors of the variant \"{}\". {}", root_.string(), variant_,
                          variants.empty() ? "There are no variants here: name none." : fmt::format("There are {}; or name none.", fmt::join(variants, ", ")));
  }
}

const std::string& CheckpointFolder::class_of(const std::string& component) const {
  const auto found = classes_.find(component);
  if (found == classes_.end()) throw core::DataError("{}: {} has no component \"{}\"", (root_ / "model_index.json").string(), pipeline_, component);
  return found->second;
}

fs::path CheckpointFolder::component(const std::string& name, const std::string& expected_class) const {
  const std::string& found = class_of(name);
  if (found != expected_class)
    throw core::DataError("{}: \"{}\" is a {}, expected is a {}. Use a checkpoint of Stable Diffusion 1 or 2, or of InstructPix2Pix",
                          (root_ / "model_index.json").string(), name, found, expected_class);
  check_plain_name(name, (root_ / "model_index.json").string());
  if (!fs::is_directory(root_ / name))
    throw core::DataError("{}: the folder of the component \"{}\" ({}) is missing. Download it too.", (root_ / name).string(), name, found);
  return root_ / name;
}

std::string CheckpointFolder::configuration_hash() const {
  std::string hashes;
  for (const char* file :
       {"scheduler/scheduler_config.json", "text_encoder/config.json", "unet/config.json", "vae/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt",
        "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "tokenizer/special_tokens_map.json", "tokenizer/added_tokens.json"}) {
    if (fs::exists(root_ / file)) hashes += fmt::format("{} {}\n", file, io::hash_file(root_ / file));
  }
  return io::hash128(fmt::format("{}scheduler {}\n", hashes, class_of("scheduler")));
}

io::NamedTensors CheckpointFolder::weights(const std::string& component_name, const std::string& stem) const {
  const fs::path folder = component(component_name, class_of(component_name));
  const bool falls_back = !WeightFiles(folder, stem, variant_).are_there() && WeightFiles(folder, stem, "").are_there();
  if (falls_back && core::log_rank() == 0)  // all ranks read the same folder: one line is enough
    core::warn("{}: has no weights of the variant \"{}\"; those without a variant are taken, as diffusers does", folder.string(), variant_);
  return read_weights(folder, stem, falls_back ? "" : variant_);
}

io::NamedTensors read_weights(const fs::path& folder, const std::string& stem, const std::string& variant) {
  const WeightFiles files(folder, stem, variant);
  if (fs::exists(files.whole)) return io::read_safetensors(files.whole).tensors;
  if (fs::exists(files.index)) return read_shards(folder, files.index);
  throw core::DataError("{}: neither {} nor {} is there. {}", folder.string(), files.whole.filename().string(), files.index.filename().string(),
                        weights_present(folder));
}

}  // namespace syncdr::diffusion
