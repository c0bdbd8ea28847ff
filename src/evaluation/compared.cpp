#include "compared.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "syncdr/core/error.h"
#include "syncdr/io/json.h"

namespace syncdr::evaluation {
namespace {

std::string where_of(const ComparedRun& run) { return run.folder + "/metrics.json"; }

// The k of Prec@k that its tables begin with.
std::set<int64_t> cutoffs_of(const ComparedRun& run) {
  std::set<int64_t> cutoffs;
  const auto& settings = io::json_object(run.metrics, "settings", where_of(run));
  for (const auto& k : io::json_array(settings, "cutoffs", where_of(run))) {
    if (!k.is_int64()) throw core::DataError("{}: a cutoff is no whole number", where_of(run));
    cutoffs.insert(k.get_int64());
  }
  return cutoffs;
}

boost::json::value domains_of(const ComparedRun& run) {
  const auto* domains = run.metrics.if_contains("domains");
  if (!domains) throw core::DataError("{}: \"domains\" is missing", where_of(run));
  return *domains;
}

std::vector<int32_t> labels_in(const boost::json::array& array, const std::string& where) {
  std::vector<int32_t> labels;
  for (const auto& value : array) {
    if (!value.is_int64()) throw core::DataError("{}: a category is no whole number", where);
    labels.push_back(static_cast<int32_t>(value.get_int64()));
  }
  return labels;
}

// As TOML; of a run from before there was a choice, what it did.
std::string gallery_of(const ComparedRun& run) {
  const auto found = std::find_if(run.settings.begin(), run.settings.end(), [](const auto& setting) { return setting.first == "evaluate.gallery"; });
  return found == run.settings.end() ? "\"all\"" : found->second;
}

// Why a run's queries cannot be held against those of the first one by one; empty: they can. Directions are paired by their places, which domains fix.
std::string why_unpaired(const ComparedRun& run, const ComparedRun& first) {
  const auto *images = run.hits.if_contains("images"), *others = first.hits.if_contains("images");
  if (!images || !others || *images != *others) return "it was not measured on the same images";
  if (domains_of(run) != domains_of(first)) return "its domains are others, or stand in another order";
  if (gallery_of(run) != gallery_of(first)) return "its evaluate.gallery is another";
  return "";
}

/// An arm's hits of all shared cutoffs, directions in the order of the file.
HitsByMeasure hits_of(const ComparedRun& run, const std::string& title, const std::vector<int64_t>& cutoffs) {
  const std::string where = run.folder + "/hits.json";
  const auto& categories = io::json_object(run.hits, "categories", where);
  const auto& possible = io::json_object(run.hits, "possible", where);
  const auto& correct = io::json_object(io::json_object(run.hits, "correct", where), title.c_str(), where);
  HitsByMeasure all;
  for (const auto& item : categories) {
    const std::string direction(item.key());
    const auto labels = labels_in(io::json_array(categories, direction.c_str(), where), where);
    for (const int64_t k : cutoffs) {
      const auto name = fmt::format("prec@{}", k);
      const auto& could = io::json_array(io::json_object(possible, direction.c_str(), where), name.c_str(), where);
      const auto& did = io::json_array(io::json_object(correct, direction.c_str(), where), name.c_str(), where);
      if (could.size() != labels.size() || did.size() != labels.size())
        throw core::DataError("{}: {} {} has {} and {} figures of {} queries", where, direction, name, did.size(), could.size(), labels.size());
      QueryHits hits{labels, {}};
      for (size_t i = 0; i < labels.size(); ++i) {
        if (!did[i].is_number() || !could[i].is_int64()) throw core::DataError("{}: {} {} holds what is no number", where, direction, name);
        hits.hits.push_back({did[i].to_number<double>(), static_cast<int32_t>(could[i].get_int64())});
      }
      all[k].push_back(std::move(hits));
    }
  }
  return all;
}

}  // namespace

std::vector<ComparedArm> arms_of(const ComparedRun& run) {
  std::vector<ComparedArm> arms;
  const auto add = [&](const std::string& name, const boost::json::value& value) {
    const auto& figures = io::as_object(value, where_of(run));
    arms.push_back({name, io::json_string(figures, "title", where_of(run)), &figures});
  };
  if (const auto* baseline = run.metrics.if_contains("cds")) add("cds", *baseline);
  if (const auto* main = run.metrics.if_contains("syncdr")) add(run.main, *main);
  for (const auto& [name, figures] : io::json_object(run.metrics, "controls", where_of(run))) add(std::string(name), figures);
  return arms;
}

const boost::json::object* arm_of(const ComparedRun& run, const std::string& name) {
  for (const auto& arm : arms_of(run))
    if (arm.name == name) return arm.figures;
  return nullptr;
}

std::vector<std::string> arm_names(const std::vector<ComparedRun>& runs) {
  std::vector<std::string> names;
  for (const auto& run : runs)
    for (const auto& arm : arms_of(run))
      if (std::find(names.begin(), names.end(), arm.name) == names.end()) names.push_back(arm.name);
  return names;
}

std::vector<int64_t> shared_cutoffs(const std::vector<ComparedRun>& runs) {
  auto shared = cutoffs_of(runs.front());
  for (const auto& run : runs) {
    const auto own = cutoffs_of(run);
    std::erase_if(shared, [&](int64_t k) { return !own.contains(k); });
  }
  if (shared.empty()) throw core::DataError("the runs share no k of Prec@k: their evaluate.cutoffs differ");
  return {shared.begin(), shared.end()};
}

std::vector<std::pair<std::string, std::string>> shared_directions(const std::vector<ComparedRun>& runs) {
  for (const auto& run : runs)
    if (domains_of(run) != domains_of(runs.front())) return {};
  const auto domains = domains_of(runs.front());
  std::vector<std::pair<std::string, std::string>> directions;
  if (const auto* two = domains.if_object()) {
    const auto a = io::json_string(*two, "a", where_of(runs.front())), b = io::json_string(*two, "b", where_of(runs.front()));
    return {{"a_to_b", a + " → " + b}, {"b_to_a", b + " → " + a}};
  }
  if (!domains.is_array()) throw core::DataError("{}: \"domains\" is no list", where_of(runs.front()));
  for (const auto& one : domains.get_array())
    for (const auto& other : domains.get_array())
      if (one != other && one.is_string() && other.is_string())
        directions.emplace_back(fmt::format("{}-to-{}", one.get_string().c_str(), other.get_string().c_str()),
                                fmt::format("{} → {}", one.get_string().c_str(), other.get_string().c_str()));
  return directions;
}

Estimate figure_of(const ComparedRun& run, const boost::json::object& arm, int64_t k, const std::string& which) {
  const auto& figures = io::json_object(arm, fmt::format("prec@{}", k).c_str(), where_of(run));
  const auto& bounds = io::json_array(figures, (which + "_interval").c_str(), where_of(run));
  if (bounds.size() != 2 || !bounds[0].is_number() || !bounds[1].is_number()) throw core::DataError("{}: an interval has no two numbers", where_of(run));
  return {io::json_double(figures, which.c_str(), where_of(run)), bounds[0].to_number<double>(), bounds[1].to_number<double>()};
}

std::vector<RunDifference> differences_of(const std::vector<ComparedRun>& runs, int64_t resamples) {
  std::vector<RunDifference> differences;
  const auto cutoffs = shared_cutoffs(runs);
  const auto& first = runs.front();
  for (const auto& run : runs) {
    if (&run == &first || !why_unpaired(run, first).empty()) continue;
    const auto unit = io::json_string(run.hits, "unit", run.folder + "/hits.json") == name_of(Unit::categories) ? Unit::categories : Unit::queries;
    for (const auto& arm : arms_of(run)) {
      const auto others = arms_of(first);
      const auto same = std::find_if(others.begin(), others.end(), [&](const ComparedArm& other) { return other.name == arm.name; });
      if (same == others.end()) continue;
      const auto less = difference(hits_of(run, arm.title, cutoffs), hits_of(first, same->title, cutoffs));
      differences.push_back({arm.name, run.name, unit, figures_of(less, unit, 0, resamples)});
    }
  }
  return differences;
}

std::vector<std::string> left_out_of_differences(const std::vector<ComparedRun>& runs) {
  std::vector<std::string> sentences;
  for (const auto& run : runs)
    if (const auto why = why_unpaired(run, runs.front()); &run != &runs.front() && !why.empty())
      sentences.push_back(fmt::format("{} is not compared with {} query by query: {}.", run.name, runs.front().name, why));
  return sentences;
}

std::vector<std::pair<std::string, std::vector<std::string>>> differing_settings(const std::vector<ComparedRun>& runs) {
  std::vector<std::pair<std::string, std::vector<std::string>>> all;
  for (size_t place = 0; place < runs.size(); ++place)
    for (const auto& [key, value] : runs[place].settings) {
      auto found = std::find_if(all.begin(), all.end(), [&](const auto& row) { return row.first == key; });
      if (found == all.end()) found = all.insert(all.end(), {key, std::vector<std::string>(runs.size())});
      found->second[place] = value;
    }
  std::erase_if(all, [](const auto& row) {
    const auto& values = row.second;
    return row.first == "run.out" || row.first == "run.title" ||
           std::all_of(values.begin(), values.end(), [&](auto& value) { return value == values.front(); });
  });
  return all;
}

boost::json::object comparison_json(const std::vector<ComparedRun>& runs, const std::vector<RunDifference>& differences) {
  boost::json::object figures, settings;
  boost::json::array compared;
  const auto cutoffs = shared_cutoffs(runs);
  for (const auto& run : runs) {
    boost::json::object arms;
    for (const auto& arm : arms_of(run))
      for (const int64_t k : cutoffs) {
        auto& object = arms.emplace(arm.name, boost::json::object()).first->value().as_object();
        const auto mean = figure_of(run, *arm.figures, k, "mean");
        object[fmt::format("prec@{}", k)] = {{"mean", mean.value}, {"mean_interval", {mean.low, mean.high}}};
      }
    figures[run.name] = std::move(arms);
  }
  for (const auto& [arm, run, unit, of] : differences) {
    boost::json::object difference{{"arm", arm}, {"run", run}, {"less", runs.front().name}, {"unit", name_of(unit)}};
    for (const auto& [measure, mean] : of.mean) difference[name_of(measure)] = {{"mean", mean.value}, {"mean_interval", {mean.low, mean.high}}};
    compared.push_back(std::move(difference));
  }
  for (const auto& [key, values] : differing_settings(runs)) settings[key] = boost::json::array(values.begin(), values.end());
  return {{"runs", std::move(figures)}, {"differences", std::move(compared)}, {"settings", std::move(settings)}};
}

}  // namespace syncdr::evaluation
