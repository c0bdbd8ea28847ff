#include "arms.h"

#include <algorithm>
#include <map>
#include <ranges>
#include <set>
#include <tuple>

#include "syncdr/core/error.h"

namespace syncdr::evaluation {
namespace {

const ArmResult* arm_named(const ReportInput& input, const std::string& name) {
  for (const auto& arm : input.arms)
    if (arm.name == name) return &arm;
  return nullptr;
}

// Null: it was not compared with the reference.
const Difference* difference_to(const ArmResult& arm, const ArmResult& reference) {
  for (const auto& difference : arm.differences)
    if (difference.to == reference.name) return &difference;
  return nullptr;
}

std::vector<Measure> measures_of(const std::map<Measure, Estimate>& figures) {
  std::vector<Measure> measures;
  for (const auto& [measure, estimate] : figures) measures.push_back(measure);
  return measures;
}

}  // namespace

std::vector<int64_t> cutoffs_of(const ReportInput& input) {
  SYNCDR_ASSERT(!input.arms.empty(), "a report needs an arm");
  const auto& evaluation = input.arms.front().evaluation;
  const auto measures = measures_of(evaluation.mean);
  std::vector<int64_t> cutoffs;
  for (const Measure& measure : measures) {
    const bool wanted = evaluation.cutoffs.empty() || std::ranges::count(evaluation.cutoffs, measure.k) > 0;
    if (measure.kind == Measure::Kind::precision && wanted) cutoffs.push_back(measure.k);
  }
  SYNCDR_ASSERT(!cutoffs.empty(), "arm {} has no figures", input.arms.front().name);
  for (const auto& arm : input.arms) {
    const auto& directions = arm.evaluation.directions;
    SYNCDR_ASSERT(directions.size() == directions_of(input).size(), "arm {} has other directions than {}", arm.name, input.arms.front().name);
    bool same = measures_of(arm.evaluation.mean) == measures;
    for (const auto& direction : directions) same = same && measures_of(direction.figures) == measures;
    SYNCDR_ASSERT(same, "arm {} has other figures than {}", arm.name, input.arms.front().name);
  }
  return cutoffs;
}

std::vector<Measure> further_measures_of(const ReportInput& input) {
  const auto cutoffs = cutoffs_of(input);
  auto measures = measures_of(input.arms.front().evaluation.mean);
  std::erase_if(measures, [&](const Measure& measure) { return measure.kind == Measure::Kind::precision && std::ranges::count(cutoffs, measure.k) > 0; });
  return measures;
}

const ArmResult* baseline_of(const ReportInput& input) {
  if (!input.baseline.empty()) return arm_named(input, input.baseline);
  for (const auto& arm : input.arms)
    if (arm.sets.empty()) return &arm;
  return nullptr;
}

const ArmResult* main_of(const ReportInput& input) {
  if (!input.main.empty()) return arm_named(input, input.main);
  const int64_t k = cutoffs_of(input).front();
  const ArmResult* best = nullptr;
  for (const auto& arm : input.arms) {
    if (arm.sets.empty() || arm.ceiling) continue;
    if (!best || arm.evaluation.mean.at(k).value > best->evaluation.mean.at(k).value) best = &arm;
  }
  return best;
}

const Estimate& Column::estimate(const ArmResult& arm) const {
  return (direction ? arm.evaluation.directions.at(*direction).figures : arm.evaluation.mean).at(k);
}

const Estimate& Column::estimate(const ArmResult& arm, const ArmResult& less) const {
  const auto* found = difference_to(arm, less);
  SYNCDR_ASSERT(found, "arm {} was not compared with {}", arm.name, less.name);
  return (direction ? found->figures.directions.at(*direction) : found->figures.mean).at(k);
}

std::string Column::title(const ReportInput& input, const std::string& joint) const {
  return direction ? name_of(directions_of(input).at(*direction), joint) : "mean";
}

const ArmResult* Column::best(const ReportInput& input) const {
  const ArmResult* found = nullptr;
  for (const auto& arm : input.arms)
    if (!arm.ceiling && (!found || estimate(arm).value > estimate(*found).value)) found = &arm;
  return found;
}

std::vector<Column> columns_of(const ReportInput& input) {
  std::vector<Column> columns;
  const auto cutoffs = cutoffs_of(input);
  for (size_t i = 0; i < directions_of(input).size(); ++i)
    for (const int64_t k : cutoffs) columns.push_back({i, k});
  for (const int64_t k : cutoffs) columns.push_back({std::nullopt, k});
  return columns;
}

std::vector<SetRetention> retention_of(const ReportInput& input) {
  std::vector<SetRetention> all;
  for (const auto& arm : input.arms)
    for (const auto& entry : arm.retention)
      if (std::none_of(all.begin(), all.end(), [&](const SetRetention& other) {
            return std::tie(other.set, other.source, other.target) == std::tie(entry.set, entry.source, entry.target);
          }))
        all.push_back(entry);
  return all;
}

std::vector<const ArmResult*> arms_compared_with(const ReportInput& input, const ArmResult& reference) {
  std::vector<const ArmResult*> arms;
  for (const auto& arm : input.arms)
    if (difference_to(arm, reference)) arms.push_back(&arm);
  return arms;
}

std::vector<const ArmResult*> references_of(const ReportInput& input) {
  std::vector<const ArmResult*> references;
  for (const auto& arm : input.arms)
    if (!arms_compared_with(input, arm).empty()) references.push_back(&arm);
  return references;
}

void compare_arms(ReportInput& input, uint64_t seed, int64_t resamples) {
  for (const auto* reference : {baseline_of(input), arm_named(input, "untrained")}) {
    if (!reference) continue;
    for (auto& arm : input.arms) {
      if (&arm == reference || difference_to(arm, *reference)) continue;
      const auto& evaluation = arm.evaluation;
      arm.differences.push_back({reference->name, figures_of(difference(evaluation.hits, reference->evaluation.hits), evaluation.unit(), seed, resamples)});
    }
  }
}

const std::vector<DirectionScores>& directions_of(const ReportInput& input) { return input.arms.front().evaluation.directions; }

std::string name_of(const DirectionScores& direction, const std::string& joint) { return direction.query_domain + joint + direction.gallery_domain; }

std::vector<std::string> queries_of(const ReportInput& input) {
  std::vector<std::string> counts;
  const auto& directions = directions_of(input);
  for (size_t i = 0; i < directions.size(); i += input.domains.size() - 1) counts.push_back(grouped(directions[i].queries));  // the first from each domain
  return counts;
}

std::string kept_epochs_text(const ReportInput& input) {
  static const std::map<std::string, std::string> words{{"labels", "has the best Prec@1 on validation images"},
                                                        {"mutual", "has the most mutual neighbours among validation images, whose labels were not read"},
                                                        {"uniformity", "spreads validation images most evenly, whose labels were not read"},
                                                        {"last", "is the last: nothing was validated"}};
  std::set<std::string> reasons;
  for (const ArmResult& arm : input.arms)
    if (arm.best_epoch > 0) reasons.insert(words.contains(arm.selected_by) ? words.at(arm.selected_by) : "is best in " + arm.selected_by);
  return reasons.empty() ? "" : fmt::format("Of each training the epoch is kept that {}.", fmt::join(reasons, ", or "));
}

std::string both_or_all(const ReportInput& input) { return input.domains.size() == 2 ? "both" : "all"; }

std::string protocol_name(const Evaluation& evaluation) { return evaluation.protocol == "ucdir" ? "UCDIR" : "SynCDR"; }

std::string protocol_text(const ReportInput& input) {
  const auto& evaluation = input.arms.front().evaluation;
  const auto on = evaluation.protocol == "ucdir" ? "on the training images themselves, whose labels training has not read; " : "";
  const auto protocol =
      fmt::format("Prec@k, {} protocol ({}k at most the gallery's images of the category; equal scores share their places), split {}, {} queries{}",
                  protocol_name(evaluation), on, input.split, fmt::join(queries_of(input), " + "), category_sets_text(input));
  if (evaluation.unit() == Unit::categories) return fmt::format("{}, 95 % bootstrap over {} categories", protocol, grouped(evaluation.categories));
  return fmt::format("{}, 95 % bootstrap over queries: {} categor{} too few to draw from, so that intervals speak of other images of these alone", protocol,
                     evaluation.categories, evaluation.categories == 1 ? "y is" : "ies are");
}

std::string category_sets_text(const ReportInput& input) {
  std::map<std::string, std::vector<std::string>> sets;
  int64_t unanswerable = 0;
  for (const auto& direction : directions_of(input)) {
    sets[direction.category_set].push_back(name_of(direction, "→"));
    unanswerable += direction.unanswerable;
  }
  std::vector<std::string> texts;
  for (const auto& [set, directions] : sets)
    if (!set.empty())
      texts.push_back(sets.size() == 1 ? fmt::format("{} category sets", set) : fmt::format("{}: {} category sets", fmt::join(directions, " and "), set));
  std::string text = texts.empty() ? "" : fmt::format(", {}", fmt::join(texts, ", "));
  if (unanswerable > 0)
    text += fmt::format(" ({} quer{} without a right image in the gallery left out)", grouped(unanswerable), unanswerable == 1 ? "y" : "ies");
  return text;
}

std::string further_text(const ReportInput& input) {
  return fmt::format(
      "{} protocol as above. Recall@k: queries with a right image among the first k; mAP@All: average precision over the whole gallery, mean over queries.",
      protocol_name(input.arms.front().evaluation));
}

std::string title_of(const CategoryGroup& group) {
  static const std::map<std::string, std::string> titles{{"seen", "seen in training"},
                                                         {"unseen", "not seen in training"},
                                                         {"seen_in_both", "seen in both domains"},
                                                         {"seen_in_query_domain", "seen in the query's domain alone"},
                                                         {"seen_in_gallery_domain", "seen in the gallery's domain alone"}};
  return titles.at(group.name);
}

bool shows_groups(const ReportInput& input) { return input.arms.front().evaluation.groups.size() > 2; }

std::string differences_text(const ReportInput& input, const char* mark) {
  return fmt::format(
      "Differences in points, on the same queries, with 95 % intervals that draw {} for both arms at once: {} leaves zero out. Two arms are told apart by "
      "their difference, not by whether their own intervals meet. An interval says nothing of other seeds of the training.",
      name_of(input.arms.front().evaluation.unit()), mark);
}

std::string percent(double share) { return fmt::format("{:.1f}", 100 * share); }

std::string interval_text(const Estimate& estimate) { return percent(estimate.low) + "–" + percent(estimate.high); }

std::string difference_text(const Estimate& estimate) {
  const bool certain = estimate.low > 0 || estimate.high < 0;
  return fmt::format("{}{:+.1f} [{:.1f} to {:.1f}]", certain ? "*" : "", 100 * estimate.value, 100 * estimate.low, 100 * estimate.high);
}

std::string grouped(int64_t value) {
  return std::abs(value) < 1000 ? fmt::format("{}", value) : fmt::format("{},{:03}", grouped(value / 1000), std::abs(value % 1000));
}

}  // namespace syncdr::evaluation
