#include "state_dict.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "syncdr/core/error.h"
#include "syncdr/io/torch_file.h"

namespace syncdr::data_tools {
namespace {

using io::PickleValue;
using Kind = PickleValue::Kind;

constexpr int max_depth = 64;
constexpr size_t max_entries = 1'000'000;  // shared dictionaries can make a small file endless
constexpr size_t max_name = 1000;          // as in safetensors.cpp

std::string joined(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

/// Dictionaries of tensors, by their path. One that has another in it is none: {"state_dict": {...}, "best": tensor}. Numbers do not count: Lightning keeps
/// its best scores as tensors, in a dictionary.
class Search {
 public:
  bool walk(const PickleValue& value, const std::string& path, int depth) {
    const auto items = io::dictionary_items(value);
    if (!items || depth > max_depth || !seen_.insert(&value).second) return false;
    int64_t tensors = 0;
    bool below = false;
    for (const auto& [key, item] : *items) {
      if (!key->is(Kind::text)) continue;
      tensors += io::is_tensor(*item) && !io::is_number(*item);
      below = walk(*item, joined(path, key->text), depth + 1) || below;
    }
    if (tensors > 0 && !below) found[path.empty() ? "." : path] = tensors;
    return tensors > 0 || below;
  }
  std::map<std::string, int64_t> found;

 private:
  std::set<const PickleValue*> seen_;
};

std::string only_key(const PickleValue& root, const std::string& file) {
  Search search;
  search.walk(root, "", 0);
  if (search.found.empty()) {
    throw core::DataError(
        "{}: holds no dictionary of tensors, but {}. If it is a whole model: in Python, load it where its code is and save its "
        "state_dict().",
        file, describe(root));
  }
  if (search.found.size() == 1) return search.found.begin()->first;
  std::vector<std::string> names;
  for (const auto& [path, tensors] : search.found) names.push_back(fmt::format("{} ({} tensors)", path, tensors));
  throw core::UsageError("{}: holds {} dictionaries of tensors: {}. Choose one with --key, or all with --key . (names are joined by dots)", file, names.size(),
                         fmt::join(names, ", "));
}

/// The dictionary at a path; a name may hold dots itself.
const PickleValue* at_path(const PickleValue& value, const std::string& path) {
  if (path == ".") return &value;
  for (const auto& [key, item] : io::dictionary_items(value).value_or(std::vector<std::pair<const PickleValue*, const PickleValue*>>{})) {
    if (!key->is(Kind::text)) continue;
    if (path == key->text) return item;
    if (!path.starts_with(key->text + ".")) continue;
    if (const PickleValue* found = at_path(*item, path.substr(key->text.size() + 1))) return found;
  }
  return nullptr;
}

class Collector {
 public:
  Collector(StateDict& result, const std::string& file) : result_(result), file_(file) {}

  void collect(const PickleValue& dictionary, const std::string& path, int depth) {
    if (depth > max_depth) throw core::DataError("{}: \"{}\" is nested deeper than {}", file_, path, max_depth);
    const auto items = io::dictionary_items(dictionary);
    for (const auto& [key, item] : *items) {
      if (++entries_ > max_entries) throw core::DataError("{}: \"{}\" has more than {} entries", file_, result_.key, max_entries);
      if (!key->is(Kind::text)) throw core::DataError("{}: \"{}\" has {} for a key. Choose another dictionary with --key", file_, path, describe(*key));
      add(joined(path, key->text), *item, depth);
    }
  }

 private:
  void add(const std::string& name, const PickleValue& item, int depth) {
    if (name.size() > max_name)
      throw core::DataError("{}: the name \"{}...\" has {} bytes, at most {} are read", file_, name.substr(0, 40), name.size(), max_name);
    if (io::is_tensor(item)) {
      if (!result_.tensors.emplace(name, &item).second) throw core::DataError("{}: the name \"{}\" occurs twice", file_, name);
    } else if (io::dictionary_items(item)) {
      collect(item, name, depth + 1);
    } else if (item.is(Kind::list) || item.is(Kind::tuple) || item.is(Kind::set)) {
      throw core::DataError("{}: \"{}\" is {} and could hold tensors. Choose a dictionary without it with --key", file_, name, describe(item));
    } else {
      result_.skipped.push_back(fmt::format("{} ({})", name, describe(item)));
    }
  }

  StateDict& result_;
  const std::string& file_;
  size_t entries_ = 0;
};

}  // namespace

StateDict find_state_dict(const PickleValue& root, const std::optional<std::string>& key, const std::string& file) {
  StateDict result{.key = key ? *key : only_key(root, file)};
  const PickleValue* chosen = at_path(root, result.key);
  const auto entries = io::dictionary_items(root);
  if (!chosen) {
    std::vector<std::string> names;
    for (size_t i = 0; entries && i < std::min<size_t>(entries->size(), 20); ++i) names.push_back((*entries)[i].first->text);
    throw core::UsageError("{}: has no \"{}\". It holds: {}", file, result.key, fmt::join(names, ", "));
  }
  if (!io::dictionary_items(*chosen)) throw core::DataError("{}: \"{}\" is no dictionary, but {}", file, result.key, describe(*chosen));
  Collector(result, file).collect(*chosen, "", 0);
  if (result.tensors.empty()) throw core::DataError("{}: \"{}\" holds no tensors", file, result.key);
  if (result.key == ".") return result;
  for (const auto& [name, value] : *entries) {
    const bool holds_it = result.key == name->text || result.key.starts_with(name->text + ".");
    if (!holds_it) result.skipped.push_back(fmt::format("{} ({})", name->text, describe(*value)));
  }
  return result;
}

}  // namespace syncdr::data_tools
