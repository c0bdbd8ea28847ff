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

/// An object of a document; `where` names it in errors.
struct JsonFigures {
  const boost::json::object& object;
  const std::string& where;

  int64_t whole(const char* name, int64_t least = 1) const {
    const auto value = io::json_int(object, name, where);
    if (value < least) throw core::DataError("{}: \"{}\" is {}: it must be at least {}", where, name, value, least);
    return value;
  }
  std::optional<int64_t> whole_if_there(const char* name, int64_t least = 1) const {
    return object.contains(name) ? std::optional(whole(name, least)) : std::nullopt;
  }
  double positive(const char* name) const {
    const auto value = io::json_double(object, name, where);
    if (!(value > 0)) throw core::DataError("{}: \"{}\" is {}: it must be above 0", where, name, value);
    return value;
  }
};

void add_translation(Measured& measured, const JsonFigures& found) {
  if (io::json_int(found.object, "images", found.where) == 0) return;  // everything was sealed before
  measured.translations.push_back({.images = found.whole("images"),
                                   .ranks = found.whole("ranks"),
                                   .seconds = found.positive("seconds"),
                                   .compute_seconds = found.positive("compute_seconds"),
                                   .variants = found.whole_if_there("variants"),
                                   .batch = found.whole_if_there("batch"),
                                   .unit_rows = found.whole_if_there("unit_rows"),
                                   .taper = found.whole_if_there("taper", 0)});
}

void add_training(Measured& measured, const JsonFigures& found) {
  const MeasuredTraining one{.steps = found.whole("steps"),
                             .ranks = found.whole("ranks"),
                             .images_per_step = found.whole("images_per_step"),
                             .seconds = found.positive("seconds"),
                             .parameters = found.whole("parameters"),
                             .feature_dim = found.whole_if_there("feature_dim", 0),
                             .batch_norm_layers = found.whole_if_there("batch_norm_layers", 0)};
  if (one.images_per_step < one.ranks) throw core::DataError("{}: {} images per step on {} ranks", found.where, one.images_per_step, one.ranks);
  measured.trainings.push_back(one);
}

void collect(Measured& measured, const boost::json::value& value, const std::string& where) {
  if (const auto* array = value.if_array())
    for (const auto& item : *array) collect(measured, item, where);
  const auto* object = value.if_object();
  if (!object) return;
  const JsonFigures found{*object, where};
  if (has_all(*object, {"images", "compute_seconds", "seconds", "ranks"})) return add_translation(measured, found);
  if (has_all(*object, {"steps", "images_per_step", "parameters", "seconds", "ranks"})) return add_training(measured, found);
  if (has_all(*object, {"latency_us", "bandwidth_gb", "all_reduce"})) {
    measured.link = Link{found.positive("latency_us"), found.positive("bandwidth_gb"), io::json_string(*object, "all_reduce", where)};
  } else if (has_all(*object, {"slowdown", "ranks_per_node"})) {
    measured.sharing = {.slowdown = std::max(1.0, found.positive("slowdown")), .ranks_per_node = found.whole("ranks_per_node")};
  } else {
    for (const auto& [name, member] : *object) collect(measured, member, where + ": " + std::string(name));
  }
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
