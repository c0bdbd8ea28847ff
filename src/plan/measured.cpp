#include "measured.h"

#include <algorithm>
#include <boost/json.hpp>

#include "syncdr/core/error.h"
#include "syncdr/io/json.h"

namespace syncdr::plan {
namespace {

bool has_all(const boost::json::object& object, std::initializer_list<const char*> names) {
  return std::all_of(names.begin(), names.end(), [&](const char* name) { return object.contains(name); });
}

int64_t counted(const boost::json::object& object, const char* name, const std::string& where) {
  const auto value = io::json_int(object, name, where);
  if (value < 1) throw core::DataError("{}: \"{}\" is {}: it must be at least 1", where, name, value);
  return value;
}

/// Overwrites value with a figure of at least `least`, if it is there.
void read_optional(std::optional<int64_t>& value, const boost::json::object& object, const char* name, int64_t least, const std::string& where) {
  if (!object.contains(name)) return;
  value = io::json_int(object, name, where);
  if (*value < least) throw core::DataError("{}: \"{}\" is {}: it must be at least {}", where, name, *value, least);
}

double positive(const boost::json::object& object, const char* name, const std::string& where) {
  const auto value = io::json_double(object, name, where);
  if (!(value > 0)) throw core::DataError("{}: \"{}\" is {}: it must be above 0", where, name, value);
  return value;
}

void add_translation(Measured& measured, const boost::json::object& object, const std::string& where) {
  if (io::json_int(object, "images", where) == 0) return;  // everything was sealed before
  Measured::Translation one;
  one.images = counted(object, "images", where);
  one.ranks = counted(object, "ranks", where);
  one.seconds = positive(object, "seconds", where);
  one.compute_seconds = positive(object, "compute_seconds", where);
  read_optional(one.variants, object, "variants", 1, where);
  read_optional(one.batch, object, "batch", 1, where);
  read_optional(one.unit_rows, object, "unit_rows", 1, where);
  read_optional(one.taper, object, "taper", 0, where);
  measured.translations.push_back(one);
}

void add_training(Measured& measured, const boost::json::object& object, const std::string& where) {
  Measured::Training one;
  one.steps = counted(object, "steps", where);
  one.ranks = counted(object, "ranks", where);
  one.images_per_step = counted(object, "images_per_step", where);
  one.parameters = counted(object, "parameters", where);
  one.seconds = positive(object, "seconds", where);
  read_optional(one.feature_dim, object, "feature_dim", 0, where);
  read_optional(one.batch_norm_layers, object, "batch_norm_layers", 0, where);
  if (one.images_per_step < one.ranks) throw core::DataError("{}: {} images a step on {} ranks", where, one.images_per_step, one.ranks);
  measured.trainings.push_back(one);
}

void add_link(Measured& measured, const boost::json::object& object, const std::string& where) {
  measured.link.emplace();
  measured.link->latency_us = positive(object, "latency_us", where);
  measured.link->bandwidth_gb = positive(object, "bandwidth_gb", where);
  measured.link->all_reduce = io::json_string(object, "all_reduce", where);
}

void add_sharing(Measured& measured, const boost::json::object& object, const std::string& where) {
  measured.sharing = {.slowdown = std::max(1.0, positive(object, "slowdown", where)), .ranks_per_node = counted(object, "ranks_per_node", where)};
}

void collect(Measured& measured, const boost::json::value& value, const std::string& where) {
  if (const auto* array = value.if_array())
    for (const auto& item : *array) collect(measured, item, where);
  const auto* object = value.if_object();
  if (!object) return;
  if (has_all(*object, {"images", "compute_seconds", "seconds", "ranks"})) return add_translation(measured, *object, where);
  if (has_all(*object, {"steps", "images_per_step", "parameters", "seconds", "ranks"})) return add_training(measured, *object, where);
  if (has_all(*object, {"latency_us", "bandwidth_gb", "all_reduce"})) return add_link(measured, *object, where);
  if (has_all(*object, {"slowdown", "ranks_per_node"})) return add_sharing(measured, *object, where);
  for (const auto& [name, member] : *object) collect(measured, member, where + ": " + std::string(name));
}

}  // namespace

void add_measured(Measured& measured, const boost::json::value& document, const std::string& command, const std::string& of, const std::string& where) {
  const auto* object = document.if_object();
  if (!of.empty()) {
    if (!object || !object->contains(of)) throw core::UsageError("{}: has no \"{}\". Give --of a name that stands there.", where, of);
    return collect(measured, object->at(of), where + ": " + of);
  }
  // The figures of `syncdr run` hold several translators and several arms: their mean would be nobody's.
  std::vector<std::string> names;
  if (object)
    for (const auto& member : *object)
      if (std::string name(member.key()); name.starts_with(command + " ")) names.push_back(name);
  if (names.size() > 1) throw core::UsageError("{}: holds {}. Choose one with --of.", where, fmt::join(names, ", "));
  collect(measured, document, where);
}

}  // namespace syncdr::plan
