#include "run_record.h"

#include <boost/json.hpp>
#include <sstream>

#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"

namespace syncdr::retrieval {
namespace {

namespace json = boost::json;

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// "epochs = 15, now epochs = 5": the first line in which two configurations differ.
std::string first_difference(const std::string& then, const std::string& now) {
  const auto old_lines = lines_of(then), new_lines = lines_of(now);
  for (size_t k = 0; k < std::max(old_lines.size(), new_lines.size()); ++k) {
    const std::string before = k < old_lines.size() ? old_lines[k] : "nothing", after = k < new_lines.size() ? new_lines[k] : "nothing";
    if (before != after) return fmt::format("{}, now {}", before, after);
  }
  return "nothing";
}

std::string text_of(const json::value* value) {
  if (value == nullptr) return "nothing";
  return value->is_string() ? std::string(value->as_string()) : json::serialize(*value);
}

}  // namespace

json::object run_identity(const TrainConfig& config, uint64_t seed, const std::string& domain_a, const std::string& domain_b,
                          const std::string& run, const data::PairSet& a, const data::PairSet& b) {
  TrainConfig lasting = config;
  const TrainConfig defaults;
  lasting.loader_threads = defaults.loader_threads;
  lasting.checkpoint_every = defaults.checkpoint_every;
  return {{"seed", seed},
          {"domain_a", domain_a},
          {"domain_b", domain_b},
          {"run", run},
          {"entries_a", a.size()},
          {"entries_b", b.size()},
          {"config", core::write_config(core::visit_of(lasting))}};
}

void check_identity(const json::object& found, const json::object& wanted, const std::filesystem::path& folder) {
  for (const auto& [name, value] : wanted) {
    const json::value* then = found.if_contains(name);
    // As text: a number written as unsigned is read back as signed.
    if (text_of(then) == text_of(&value)) continue;
    const std::string difference =
        name == "config" ? first_difference(text_of(then), text_of(&value)) : fmt::format("{}, now {}", text_of(then), text_of(&value));
    throw core::UsageError("{} holds a training with other settings ({}: {}). Remove that folder or train into another one.",
                           folder.string(), std::string(name), difference);
  }
}

std::optional<TrainResult> read_done(comm::World& world, const std::filesystem::path& folder, const json::object& identity) {
  const std::filesystem::path file = folder / "done.json";
  std::string text;
  world.root_only("looking for a finished training", [&] {
    if (std::filesystem::exists(file)) text = io::read_file(file);
  });
  text = world.broadcast(text, 0, "a finished training's record");
  if (text.empty()) return std::nullopt;
  const std::string where = file.string();
  const json::value value = io::parse_json(text, where);
  const json::object& done = io::as_object(value, where);
  check_identity(io::json_object(done, "identity", where), identity, folder);
  return TrainResult{.best_score = io::json_double(done, "best_score", where),
                     .best_epoch = io::json_int(done, "best_epoch", where),
                     .steps = io::json_int(done, "steps", where),
                     .seconds = io::json_double(done, "seconds", where)};
}

void write_done(const std::filesystem::path& folder, const json::object& identity, const TrainResult& result) {
  io::write_json(folder / "done.json", json::object{{"best_score", result.best_score},
                                                    {"best_epoch", result.best_epoch},
                                                    {"steps", result.steps},
                                                    {"seconds", result.seconds},
                                                    {"identity", identity}});
}

}  // namespace syncdr::retrieval
