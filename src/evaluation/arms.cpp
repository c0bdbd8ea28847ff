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
  for (const auto& arm : input.arms)
    for (const auto* figures : {&arm.evaluation.mean, &arm.evaluation.a_to_b.precision, &arm.evaluation.b_to_a.precision})
      SYNCDR_ASSERT(keys_of(*figures) == cutoffs, "arm {} has other cutoffs than {}", arm.name, input.arms.front().name);
  return cutoffs;
}

const ArmResult* baseline_of(const ReportInput& input) {
  if (!input.baseline.empty()) return arm_named(input, input.baseline);
  for (const auto& arm : input.arms)
    if (arm.run.empty()) return &arm;
  return nullptr;
}

const ArmResult* main_of(const ReportInput& input) {
  if (!input.main.empty()) return arm_named(input, input.main);
  const int64_t k = cutoffs_of(input).front();
  const ArmResult* best = nullptr;
  for (const auto& arm : input.arms) {
    if (arm.run.empty() || arm.ceiling) continue;
    if (!best || arm.evaluation.mean.at(k).value > best->evaluation.mean.at(k).value) best = &arm;
  }
  return best;
}

const Estimate& Column::estimate(const ArmResult& arm) const {
  const auto& [a_to_b, b_to_a, mean] = arm.evaluation;
  return (of == Of::a_to_b ? a_to_b.precision : of == Of::b_to_a ? b_to_a.precision : mean).at(k);
}

const ArmResult* Column::best(const ReportInput& input) const {
  const ArmResult* found = nullptr;
  for (const auto& arm : input.arms)
    if (!arm.ceiling && (!found || estimate(arm).value > estimate(*found).value)) found = &arm;
  return found;
}

std::string protocol_text(const ReportInput& input) {
  const auto& evaluation = input.arms.front().evaluation;
  return fmt::format("Prec@k, SynCDR protocol, split {}, {} + {} queries, 95 % bootstrap over categories", input.split, grouped(evaluation.a_to_b.queries),
                     grouped(evaluation.b_to_a.queries));
}

std::string percent(double share) { return fmt::format("{:.1f}", 100 * share); }

std::string interval_text(const Estimate& estimate) { return percent(estimate.low) + "–" + percent(estimate.high); }

std::string grouped(int64_t value) {
  return std::abs(value) < 1000 ? fmt::format("{}", value) : fmt::format("{},{:03}", grouped(value / 1000), std::abs(value % 1000));
}

}  // namespace syncdr::evaluation
