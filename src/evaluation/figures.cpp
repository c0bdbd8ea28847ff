#include <boost/json/array.hpp>

#include "arms.h"
#include "syncdr/evaluation/report.h"

/// The headline figures without a page: as text and as JSON.
namespace syncdr::evaluation {
namespace {

// The width on a terminal: characters, not bytes.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, size_t width, bool left) {
  const std::string space(width - std::min(width, width_of(text)), ' ');
  return left ? text + space : space + text;
}

using Row = std::vector<std::string>;

// Rows have equally many texts.
std::string aligned(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows.front().size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) text += (i ? "  " : "") + padded(row[i], widths[i], i == 0);
    while (text.ends_with(' ')) text.pop_back();
    text += '\n';
  }
  return text;
}

boost::json::array interval(const Estimate& estimate) { return {estimate.low, estimate.high}; }

// By the name of each direction what figure(direction) gives.
template <class Figure> boost::json::object by_direction(const Evaluation& evaluation, const Figure& figure) {
  const auto& directions = evaluation.directions;
  boost::json::object object;
  for (size_t i = 0; i < directions.size(); ++i)
    object[directions.size() > 2 ? name_of(directions[i], "-to-") : i == 0 ? "a_to_b" : "b_to_a"] = figure(directions[i]);
  return object;
}

boost::json::object precision_json(const Evaluation& evaluation, int64_t k) {
  auto object = by_direction(evaluation, [&](const DirectionScores& direction) { return direction.precision.at(k).value; });
  object["mean"] = evaluation.mean.at(k).value;
  for (const auto& [name, bounds] : by_direction(evaluation, [&](const DirectionScores& direction) { return interval(direction.precision.at(k)); }))
    object[std::string(name) + "_interval"] = bounds;
  object["mean_interval"] = interval(evaluation.mean.at(k));
  return object;
}

boost::json::object map_json(const Evaluation& evaluation) {
  auto object = by_direction(evaluation, [](const DirectionScores& direction) { return direction.mean_average_precision; });
  double sum = 0;
  for (const auto& direction : evaluation.directions) sum += direction.mean_average_precision;
  object["mean"] = sum / static_cast<double>(evaluation.directions.size());
  return object;
}

boost::json::object arm_json(const ArmResult& arm) {
  const Evaluation& evaluation = arm.evaluation;
  boost::json::object object{{"title", arm.title}};
  for (const auto& [k, estimate] : evaluation.mean) object[fmt::format("prec@{}", k)] = precision_json(evaluation, k);
  if (evaluation.directions.front().mean_average_precision >= 0) object["map"] = map_json(evaluation);
  object["queries"] = by_direction(evaluation, [](const DirectionScores& direction) { return direction.queries; });
  object["gallery"] = by_direction(evaluation, [](const DirectionScores& direction) { return direction.gallery; });
  object["best_epoch"] = arm.best_epoch;
  object["validation"] = arm.validation_score;
  return object;
}

}  // namespace

std::string table_text(const ReportInput& input) {
  const auto cutoffs = cutoffs_of(input);
  std::vector<std::pair<std::optional<size_t>, std::string>> groups;
  for (const auto& direction : directions_of(input)) groups.emplace_back(groups.size(), name_of(direction, "→"));
  groups.emplace_back(std::nullopt, "mean");
  std::vector<Row> rows(input.arms.size() + 2);
  rows[0].push_back("%");
  rows[1].push_back("");
  for (size_t i = 0; i < input.arms.size(); ++i) rows[i + 2].push_back(input.arms[i].title);
  for (const auto& [direction, title] : groups)
    for (const int64_t k : cutoffs) {
      const Column column{direction, k};
      const ArmResult* best = column.best(input);
      rows[0].push_back(k == cutoffs.front() ? title : "");
      rows[1].push_back(fmt::format("Prec@{}", k));
      for (size_t i = 0; i < input.arms.size(); ++i) {
        const auto& estimate = column.estimate(input.arms[i]);
        rows[i + 2].push_back(fmt::format("{}{} [{}]", best == &input.arms[i] ? "*" : "", percent(estimate.value), interval_text(estimate)));
      }
    }
  return aligned(rows) + protocol_text(input) + ". * best.\n";
}

boost::json::object metrics_json(const ReportInput& input, const std::string& baseline_name, const std::string& main_name) {
  boost::json::array cutoffs;
  for (const int64_t k : cutoffs_of(input)) cutoffs.emplace_back(k);
  boost::json::value domains(boost::json::array(input.domains.begin(), input.domains.end()));
  if (input.domains.size() == 2) domains = {{"a", input.domains[0]}, {"b", input.domains[1]}};
  boost::json::object result{{"protocol", protocol_text(input)}, {"domains", std::move(domains)}}, controls;
  for (const auto& arm : input.arms) {
    if (arm.name == baseline_name) result["cds"] = arm_json(arm);
    else if (arm.name == main_name) result["syncdr"] = arm_json(arm);
    else controls[arm.name] = arm_json(arm);
  }
  result["controls"] = std::move(controls);
  result["settings"] = {{"split", input.split}, {"cutoffs", std::move(cutoffs)}, {"configuration", input.configuration}};
  return result;
}

}  // namespace syncdr::evaluation
