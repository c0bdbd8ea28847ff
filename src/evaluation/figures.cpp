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

boost::json::object both(int64_t a_to_b, int64_t b_to_a) { return {{"a_to_b", a_to_b}, {"b_to_a", b_to_a}}; }

boost::json::object arm_json(const ArmResult& arm) {
  const auto& [a_to_b, b_to_a, mean] = arm.evaluation;
  boost::json::object object{{"title", arm.title}};
  for (const auto& [k, estimate] : mean) {
    const auto &from_a = a_to_b.precision.at(k), &from_b = b_to_a.precision.at(k);
    object[fmt::format("prec@{}", k)] = {{"a_to_b", from_a.value},
                                         {"b_to_a", from_b.value},
                                         {"mean", estimate.value},
                                         {"a_to_b_interval", interval(from_a)},
                                         {"b_to_a_interval", interval(from_b)},
                                         {"mean_interval", interval(estimate)}};
  }
  if (a_to_b.mean_average_precision >= 0) {
    const double from_a = a_to_b.mean_average_precision, from_b = b_to_a.mean_average_precision;
    object["map"] = {{"a_to_b", from_a}, {"b_to_a", from_b}, {"mean", (from_a + from_b) / 2}};
  }
  object["queries"] = both(a_to_b.queries, b_to_a.queries);
  object["gallery"] = both(a_to_b.gallery, b_to_a.gallery);
  object["best_epoch"] = arm.best_epoch;
  object["validation"] = arm.validation_score;
  return object;
}

}  // namespace

std::string table_text(const ReportInput& input) {
  const auto cutoffs = cutoffs_of(input);
  const std::vector<std::pair<Column::Of, std::string>> groups{
      {Column::Of::a_to_b, input.domain_a + "→" + input.domain_b}, {Column::Of::b_to_a, input.domain_b + "→" + input.domain_a}, {Column::Of::mean, "mean"}};
  std::vector<Row> rows(input.arms.size() + 2);
  rows[0].push_back("%");
  rows[1].push_back("");
  for (size_t i = 0; i < input.arms.size(); ++i) rows[i + 2].push_back(input.arms[i].title);
  for (const auto& [of, title] : groups)
    for (const int64_t k : cutoffs) {
      const Column column{of, k};
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
  boost::json::object result{{"protocol", protocol_text(input)}, {"domains", {{"a", input.domain_a}, {"b", input.domain_b}}}}, controls;
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
