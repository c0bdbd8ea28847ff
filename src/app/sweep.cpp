#include "sweep.h"

#include <boost/json/array.hpp>

#include "syncdr/core/log.h"
#include "syncdr/translate/preview.h"

namespace syncdr::app {
namespace {

constexpr int64_t pictures = 4;  // of a direction

Settings with_value(const CommonOptions& options, const std::string& key, const std::string& value) {
  std::vector<std::string> sets = options.sets;
  sets.push_back(key + "=" + value);
  Settings settings = read_settings(options.config, sets);
  settings.translate.batch = pictures;
  return settings;
}

/// Refuses a key that the columns' translator never reads: they would all be the same.
void check_read(const std::string& key, const std::string& translator) {
  const auto& row = *translate::find_translator(translator);
  if (key == "seed") {
    if (!row.random) throw core::UsageError("--sweep seed: the translator {} draws nothing at random", translator);
    return;
  }
  std::vector<std::string> own;  // keys of groups
  for (const std::string& read : translate::keys_of(row)) {
    const std::string full = "translate." + read;
    if (full == key || full.starts_with(key + ".")) return;
    if (read.find('.') != std::string::npos) own.push_back(full);
  }
  throw core::UsageError("--sweep {}: the translator {} does not read it. Of keys that are not all translators' it reads {}", key, translator,
                         fmt::join(own, ", "));
}

/// Refuses what cannot work, before another column takes its time.
void check_column(const Job& job) {
  for (const auto& direction : job.directions())
    translate::check_translation({job.dataset, direction.source, direction.target, "train"}, translation(job, job.settings.translate.translator, direction));
}

/// Puts a column behind those that are there; the first brings the sources along.
void add_column(std::vector<translate::SheetPart>& parts, Job& job) {
  const auto directions = job.directions();
  for (size_t d = 0; d < directions.size(); ++d) {
    const auto& [source, target] = directions[d];
    const auto config = translation(job, job.settings.translate.translator, directions[d]);
    const auto translator = translate::make_translator(config, source, target, job.world.device());
    const auto previews = translate::preview({job.dataset, source, target, "train"}, config, job.seed(), *translator);
    auto& rows = parts[d].rows;
    if (rows.empty())
      for (const auto& one : previews) rows.push_back({one.source});
    for (size_t i = 0; i < previews.size(); ++i) rows[i].push_back(previews[i].translation);
  }
}

/// Where the value that begins at `first` ends: commas in lists and tables belong to it.
size_t end_of_value(const std::string& text, size_t first) {
  int64_t depth = 0;
  for (size_t i = first; i < text.size(); ++i) {
    if (text[i] == '[' || text[i] == '{') ++depth;
    if (text[i] == ']' || text[i] == '}') --depth;
    if (text[i] == ',' && depth == 0) return i;
  }
  return text.size();
}

}  // namespace

Sweep::Sweep(const std::string& text) : key(text.substr(0, text.find('='))) {
  for (size_t first = key.size(); first < text.size();) {
    const size_t last = end_of_value(text, first + 1);
    values.push_back(text.substr(first + 1, last - first - 1));
    first = last;
  }
  if (values.empty() || std::any_of(values.begin(), values.end(), [](const auto& value) { return value.empty(); }))
    throw core::UsageError("--sweep \"{}\" has no values, or an empty one: write KEY=VALUE,VALUE, as in translate.img2img.strength=0.2,0.4,0.6", text);
  if (key != "seed" && !key.starts_with("translate."))
    throw core::UsageError("--sweep {}: translations depend on keys that begin with \"translate.\", and on the seed. `syncdr keys` lists them", key);
}

boost::json::object translate_sweep(Job& job, const CommonOptions& options, const Sweep& sweep) {
  if (job.world.size() > 1) throw core::UsageError("--sweep makes a few pictures: one rank does it, here are {}", job.world.size());
  std::vector<Settings> columns;  // all are read before the first is made
  for (const auto& value : sweep.values) columns.push_back(with_value(options, sweep.key, value));
  for (const Settings& settings : columns) {
    check_read(sweep.key, settings.translate.translator);
    check_column(Job(job.world, settings));
  }
  std::vector<translate::SheetPart> parts;
  for (const auto& [source, target] : job.directions()) parts.push_back({fmt::format("{} to {}", source, target), {}});
  std::vector<std::string> titles{"source"};
  for (size_t i = 0; i < columns.size(); ++i) {
    Job column(job.world, columns[i]);
    add_column(parts, column);
    titles.push_back(sweep.values[i]);
    core::info("sweep: {} = {} done", sweep.key, sweep.values[i]);
  }
  const auto file = job.out / fmt::format("sweep-{}.png", sweep.key);
  translate::write_sheet(file, titles, parts);
  core::info("sheet: {}", file.string());
  return {{"sheet", file.string()}, {"key", sweep.key}, {"values", boost::json::array(sweep.values.begin(), sweep.values.end())}};
}

}  // namespace syncdr::app
