#include "weights_in.h"

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "state_dict.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/some_of.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"
#include "syncdr/io/torch_file.h"

namespace syncdr::data_tools {
namespace fs = std::filesystem;

std::string some(const std::vector<std::string>& names) { return core::some_of(names, 20); }

std::string hash_text(const fs::path& file) { return "xxh128:" + io::hash_file(file); }

void Weights::add_source(const fs::path& file) { sources[file.filename().string()] = hash_text(file); }

namespace {

/// Objects beside the tensors, which a pickle would have made of code.
void check_strangers(const io::TorchFile& file, const fs::path& path, bool allowed) {
  std::vector<std::string> names;
  for (const auto& [name, count] : file.strangers()) names.push_back(count > 1 ? fmt::format("{} ({} times)", name, count) : name);
  if (names.empty()) return;
  if (!allowed) {
    throw core::DataError("{}: names what is neither a tensor nor a plain value: {}. Nothing of it was made. --allow-beside leaves it out.", path.string(),
                          some(names));
  }
  core::warn("{}: left out, and not made: {}", path.string(), some(names));
}

void add_torch_file(Weights& weights, const fs::path& path, const ConvertOptions& options) {
  io::TorchFile file(path);
  const StateDict chosen = find_state_dict(file.root(), options.key, path.string());
  for (const auto& [name, value] : chosen.tensors) {
    if (!weights.tensors.emplace(name, file.tensor(*value, name)).second)
      throw core::DataError("{}: the tensor \"{}\" is in another file, too", path.string(), name);
  }
  check_strangers(file, path, options.allow_beside);
  weights.add_source(path);
  weights.key = chosen.key;
  core::info("{}: {} tensors of \"{}\"{}", path.string(), chosen.tensors.size(), chosen.key, options.key ? "" : ", the only dictionary of tensors");
  if (!chosen.skipped.empty()) core::info("{}: left out: {}", path.string(), some(chosen.skipped));
}

/// The parts of a checkpoint of transformers, with an index: {"weight_map": {name of a tensor: file}}.
void add_parts(Weights& weights, const fs::path& index, const ConvertOptions& options) {
  const auto document = io::read_json(index);
  const auto map = io::json_texts(io::json_object(io::as_object(document, index.string()), "weight_map", index.string()), index.string());
  std::set<std::string> files;
  for (const auto& [name, file] : map) files.insert(file);
  weights.add_source(index);
  for (const std::string& file : files) {
    const size_t before = weights.tensors.size();
    add_torch_file(weights, io::path_inside(index.parent_path(), file, index.string()), options);
    const auto listed = std::ranges::count_if(map, [&](const auto& item) { return item.second == file && weights.tensors.contains(item.first); });
    if (static_cast<size_t>(listed) != weights.tensors.size() - before)
      throw core::DataError("{}: names {} of the {} tensors in {}. Get all files of the checkpoint from one place.", index.string(), listed,
                            weights.tensors.size() - before, file);
  }
  if (weights.tensors.size() != map.size())
    throw core::DataError("{}: names {} tensors, its files hold {}. Get all files of the checkpoint from one place.", index.string(), map.size(),
                          weights.tensors.size());
}

void add_safetensors(Weights& weights, const fs::path& path, const ConvertOptions& options) {
  if (options.key) throw core::UsageError("--key: a safetensors file has no keys");
  io::Safetensors file = io::read_safetensors(path);
  if (!file.unread.empty()) throw core::DataError("{}: \"{}\" is of a type that is not converted", path.string(), *file.unread.begin());
  weights.tensors = std::move(file.tensors);
  weights.metadata = std::move(file.metadata);
  weights.add_source(path);
}

io::NamedTensors stripped(const io::NamedTensors& tensors, const std::string& prefix) {
  io::NamedTensors result;
  size_t changed = 0;
  for (const auto& [name, tensor] : tensors) {
    const bool has = name.starts_with(prefix);
    changed += has;
    const auto [place, fresh] = result.emplace(has ? name.substr(prefix.size()) : name, tensor);
    if (!fresh) throw core::DataError("--strip {}: \"{}\" would occur twice", prefix, place->first);
  }
  if (changed == 0) throw core::UsageError("--strip {}: no name begins with it; the first is \"{}\"", prefix, tensors.begin()->first);
  if (changed < tensors.size()) core::info("--strip {}: {} of {} names begin with it", prefix, changed, tensors.size());
  return result;
}

}  // namespace

Weights read_weights_in(const ConvertOptions& options) {
  Weights weights;
  if (options.in.extension() == ".json") {
    add_parts(weights, options.in, options);
  } else if (options.in.extension() == ".safetensors") {
    add_safetensors(weights, options.in, options);
  } else {
    add_torch_file(weights, options.in, options);
  }
  if (!options.strip.empty()) {
    weights.tensors = stripped(weights.tensors, options.strip);
    weights.metadata["syncdr.strip"] = options.strip;
  }
  return weights;
}

}  // namespace syncdr::data_tools
