#include "compare.h"

#include <algorithm>

#include "settings.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/evaluation/comparison.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"

namespace syncdr::app {
namespace {

namespace fs = std::filesystem;

/// Keys and values of a configuration as core::write_config has it. Another version may have written it, with keys that this one does not know.
std::vector<std::pair<std::string, std::string>> settings_in(const std::string& toml) {
  std::vector<std::pair<std::string, std::string>> settings;
  std::string table;
  for (size_t first = 0; first < toml.size();) {
    const size_t last = std::min(toml.find('\n', first), toml.size());
    const auto line = toml.substr(first, last - first);
    first = last + 1;
    const size_t equals = line.find(" = ");
    if (line.starts_with('#')) continue;
    if (line.starts_with('[')) table = line.substr(1, line.find(']') - 1) + ".";
    else if (equals != std::string::npos) settings.emplace_back(table + line.substr(0, equals), line.substr(equals + 3));
  }
  return settings;
}

boost::json::object object_in(const fs::path& file) {
  auto value = io::read_json(file);
  io::as_object(value, file.string());
  return std::move(value.get_object());  // hits are large
}

evaluation::ComparedRun read_run(const fs::path& folder, const std::string& name) {
  check_run_folder(folder);
  if (!fs::exists(folder / "metrics.json"))
    throw core::DataError("{}: the run is not finished, it has no metrics.json. `syncdr run {}` goes on with it", folder.string(),
                          (folder / "config.toml").string());
  evaluation::ComparedRun run{.name = name, .folder = folder.string()};
  run.settings = settings_in(io::read_file(folder / "config.toml"));
  run.metrics = object_in(folder / "metrics.json");
  if (fs::exists(folder / "hits.json")) run.hits = object_in(folder / "hits.json");
  run.calls = evaluation::read_calls(folder / "calls");
  for (const auto& [key, value] : run.settings)
    if (key == "run.main" && value.size() >= 2) run.main = value.substr(1, value.size() - 2);
  std::vector<std::string> arms{"cds"};
  if (!run.main.empty()) arms.push_back(run.main);
  for (const auto& [arm, figures] : io::json_object(run.metrics, "controls", run.folder + "/metrics.json")) arms.emplace_back(arm);
  for (const auto& arm : arms) {
    auto log = folder / "train" / Arm(arm).folder() / "log.jsonl";
    if (fs::exists(log)) run.logs.emplace_back(arm, std::move(log));
  }
  return run;
}

/// Names of folders, where they tell them apart; else the folders as they were given.
std::vector<std::string> names_of(const std::vector<std::string>& folders) {
  std::vector<std::string> names;
  for (const auto& folder : folders) names.push_back(fs::weakly_canonical(folder).filename().string());
  for (size_t i = 0; i < names.size(); ++i)
    if (std::count(names.begin(), names.end(), names[i]) > 1 || names[i].empty()) return folders;
  return names;
}

}  // namespace

void check_run_folder(const fs::path& folder) {
  if (!fs::is_directory(folder)) throw core::DataError("{}: there is no such folder", folder.string());
  if (!fs::exists(folder / "config.toml")) throw core::DataError("{}: no run's folder: it has no config.toml, which `syncdr run` writes", folder.string());
}

int compare_runs(const std::vector<std::string>& folders, const fs::path& page, const std::string& json) {
  for (size_t i = 0; i < folders.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (fs::weakly_canonical(folders[i]) == fs::weakly_canonical(folders[j])) throw core::UsageError("{} is named twice", folders[i]);
  const auto names = names_of(folders);
  std::vector<evaluation::ComparedRun> runs;
  for (size_t i = 0; i < folders.size(); ++i) runs.push_back(read_run(folders[i], names[i]));
  const auto differences = evaluation::differences_of(runs);
  evaluation::write_comparison(page, runs, differences);
  if (!json.empty()) io::write_json(json, evaluation::comparison_json(runs, differences));
  fmt::print("{}", evaluation::comparison_text(runs, differences));
  core::info("comparison: {}", page.string());
  return 0;
}

}  // namespace syncdr::app
