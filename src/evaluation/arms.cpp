#include "arms.h"

#include "syncdr/core/error.h"

namespace syncdr::evaluation {
namespace {

const ArmResult* arm_named(const ReportInput& input, const std::string& name) {
  for (const auto& arm : input.arms)
    if (arm.name == name) return &arm;
  return nullptr;
}

std::vector<int64_t> keys_of(const std::map<int64_t, Estimate>& figures) {
  std::vector<int64_t> keys;
  for (const auto& [k, estimate] : figures) keys.push_back(k);
  return keys;
}

}  // namespace

std::vector<int64_t> cutoffs_of(const ReportInput& input) {
  SYNCDR_ASSERT(!input.arms.empty(), "a report needs an arm");
  const auto cutoffs = keys_of(input.arms.front().evaluation.mean);
  SYNCDR_ASSERT(!cutoffs.empty(), "arm {} has no figures", input.arms.front().name);
  for (const auto& arm : input.arms) {
    const auto& [directions, mean] = arm.evaluation;
    SYNCDR_ASSERT(directions.size() == directions_of(input).size(), "arm {} has other directions than {}", arm.name, input.arms.front().name);
    bool same = keys_of(mean) == cutoffs;
    for (const auto& direction : directions) same = same && keys_of(direction.precision) == cutoffs;
    SYNCDR_ASSERT(same, "arm {} has other cutoffs than {}", arm.name, input.arms.front().name);
  }
  return cutoffs;
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
  return (direction ? arm.evaluation.directions.at(*direction).precision : arm.evaluation.mean).at(k);
}

const ArmResult* Column::best(const ReportInput& input) const {
  const ArmResult* found = nullptr;
  for (const auto& arm : input.arms)
    if (!arm.ceiling && (!found || estimate(arm).value > estimate(*found).value)) found = &arm;
  return found;
}

const std::vector<DirectionScores>& directions_of(const ReportInput& input) { return input.arms.front().evaluation.directions; }

std::string name_of(const DirectionScores& direction, const std::string& joint) { return direction.query_domain + joint + direction.gallery_domain; }

std::vector<std::string> queries_of(const ReportInput& input) {
  std::vector<std::string> counts;
  const auto& directions = directions_of(input);
  for (size_t i = 0; i < directions.size(); i += input.domains.size() - 1) counts.push_back(grouped(directions[i].queries));  // the first from each domain
  return counts;
}

std::string both_or_all(const ReportInput& input) { return input.domains.size() == 2 ? "both" : "all"; }

std::string protocol_text(const ReportInput& input) {
  return fmt::format("Prec@k, SynCDR protocol, split {}, {} queries, 95 % bootstrap over categories", input.split, fmt::join(queries_of(input), " + "));
}

std::string percent(double share) { return fmt::format("{:.1f}", 100 * share); }

std::string interval_text(const Estimate& estimate) { return percent(estimate.low) + "–" + percent(estimate.high); }

std::string grouped(int64_t value) {
  return std::abs(value) < 1000 ? fmt::format("{}", value) : fmt::format("{},{:03}", grouped(value / 1000), std::abs(value % 1000));
}

}  // namespace syncdr::evaluation
