#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <numeric>
#include <ranges>
#include <utility>

#include "arms.h"
#include "syncdr/evaluation/report.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/file.h"

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

// The name of a direction in the files for programs.
std::string key_of(const std::vector<DirectionScores>& directions, size_t i) {
  return directions.size() > 2 ? name_of(directions[i], "-to-") : i == 0 ? "a_to_b" : "b_to_a";
}

// By the name of each direction what figure(its place in `directions`) gives.
template <class Figure> boost::json::object by_direction(const std::vector<DirectionScores>& directions, const Figure& figure) {
  boost::json::object object;
  for (size_t i = 0; i < directions.size(); ++i) object[key_of(directions, i)] = figure(i);
  return object;
}

// estimate(i): of a direction; mean: of all.
template <class OfDirection>
boost::json::object figure_json(const std::vector<DirectionScores>& directions, const OfDirection& estimate, const Estimate& mean) {
  auto object = by_direction(directions, [&](size_t i) { return estimate(i).value; });
  object["mean"] = mean.value;
  for (const auto& [name, bounds] : by_direction(directions, [&](size_t i) { return interval(estimate(i)); })) object[std::string(name) + "_interval"] = bounds;
  object["mean_interval"] = interval(mean);
  return object;
}

boost::json::object group_json(const Evaluation& evaluation, const CategoryGroup& group) {
  boost::json::object object{{"queries", by_direction(evaluation.directions, [&](size_t i) { return group.queries[i]; })}};
  for (const auto& [measure, mean] : group.mean)
    object[name_of(measure)] = {{"mean", mean.value}, {"mean_interval", interval(mean)}, {"protocol", evaluation.protocol}};
  return object;
}

boost::json::object difference_json(const ArmResult& arm, const Figures& figures) {
  boost::json::object object{{"unit", name_of(arm.evaluation.unit())}};
  for (const auto& [measure, mean] : figures.mean)
    object[name_of(measure)] = figure_json(arm.evaluation.directions, [&](size_t i) -> const Estimate& { return figures.directions[i].at(measure); }, mean);
  return object;
}

boost::json::object arm_json(const ArmResult& arm, const ArmResult* baseline) {
  const auto& directions = arm.evaluation.directions;
  boost::json::object object{{"title", arm.title}};
  for (const auto& [measure, mean] : arm.evaluation.mean) {
    auto figure = figure_json(directions, [&](size_t i) -> const Estimate& { return directions[i].figures.at(measure); }, mean);
    figure["protocol"] = arm.evaluation.protocol;
    object[name_of(measure)] = std::move(figure);
  }
  object["queries"] = by_direction(directions, [&](size_t i) { return directions[i].queries; });
  object["gallery"] = by_direction(directions, [&](size_t i) { return directions[i].gallery; });
  object["unanswerable"] = by_direction(directions, [&](size_t i) { return directions[i].unanswerable; });
  object["category_set"] = by_direction(directions, [&](size_t i) { return boost::json::value(directions[i].category_set); });
  object["shared_categories"] = by_direction(directions, [&](size_t i) { return directions[i].shared_categories; });
  if (!arm.evaluation.groups.empty()) {
    boost::json::object groups;
    for (const CategoryGroup& group : arm.evaluation.groups) groups[group.name] = group_json(arm.evaluation, group);
    object["categories"] = std::move(groups);
  }
  for (const auto& [to, figures] : arm.differences) object[baseline && to == baseline->name ? "vs_cds" : "vs_" + to] = difference_json(arm, figures);
  if (!arm.retention.empty()) object["retention"] = retention_json(arm.retention);
  object["best_epoch"] = arm.best_epoch;
  const auto& collapsed = arm.evaluation.collapsed;
  if (!collapsed.empty()) object["collapsed"] = boost::json::array(collapsed.begin(), collapsed.end());
  object["validation"] = std::isnan(arm.validation_score) ? boost::json::value(nullptr) : arm.validation_score;
  object["selected_by"] = arm.selected_by;
  if (arm.other) {
    boost::json::object other{{"by", arm.other->by}, {"epoch", arm.other->epoch}};
    for (const auto& [measure, mean] : arm.other->mean) other[name_of(measure)] = mean.value;
    object["other_choice"] = std::move(other);
  }
  return object;
}

// The heads of all columns, then a row for each of these arms: its title, and cell(arm, column).
template <class Cell> std::string table(const ReportInput& input, const std::string& corner, const std::vector<const ArmResult*>& arms, const Cell& cell) {
  std::vector<Row> rows{{corner}, {""}};
  for (const auto* arm : arms) rows.push_back({arm->title});
  for (const Column& column : columns_of(input)) {
    const bool first = column.k == cutoffs_of(input).front();
    rows[0].push_back(first ? column.title(input, "→") : "");
    rows[1].push_back(fmt::format("Prec@{}", column.k));
    for (size_t i = 0; i < arms.size(); ++i) rows[i + 2].push_back(cell(*arms[i], column));
  }
  return aligned(rows);
}

}  // namespace

void write_hits(const std::filesystem::path& file, const ReportInput& input, const boost::json::value& images) {
  io::AtomicFile atomic(file);
  io::OutputFile out(atomic.temporary());
  const auto& first = input.arms.front().evaluation;
  // A list at a time: there may be millions of queries.
  const auto write_list = [&](const auto& values, const auto& value_of) {
    boost::json::array list;
    for (const auto& value : values) list.push_back(value_of(value));
    out.write(boost::json::serialize(list));
  };
  // {NAME: what write(thing) writes, ...}
  const auto write_object = [&](const auto& things, const auto& name, const auto& write) {
    out.write("{");
    const char* comma = "";
    for (const auto& thing : things) {
      out.write(fmt::format("{}{}:", std::exchange(comma, ","), boost::json::serialize(boost::json::value(name(thing)))));
      write(thing);
    }
    out.write("}");
  };
  const auto by_direction = [&](const auto& write) {
    write_object(std::views::iota(size_t{0}, first.directions.size()), [&](size_t i) { return key_of(first.directions, i); }, write);
  };
  const auto by_measure = [&](const Evaluation& evaluation, size_t direction, auto Hits::* count) {
    write_object(
        evaluation.hits, [](const auto& item) { return name_of(item.first); },
        [&](const auto& item) {
          write_list(item.second.at(direction).hits, [&](const Hits& hits) -> boost::json::value {
            const double value = hits.*count;  // whole but for ties
            if (value == std::floor(value)) return static_cast<int64_t>(value);
            return value;
          });
        });
  };
  out.write(fmt::format("{{\"unit\":\"{}\",\"images\":{},\"categories\":", name_of(first.unit()), boost::json::serialize(images)));
  by_direction([&](size_t i) { write_list(first.hits.begin()->second[i].categories, [](int32_t category) { return category; }); });
  out.write(",\"possible\":");
  by_direction([&](size_t i) { by_measure(first, i, &Hits::possible); });
  out.write(",\"correct\":");
  write_object(
      input.arms, [](const ArmResult& arm) { return arm.title; },
      [&](const ArmResult& arm) { by_direction([&](size_t i) { by_measure(arm.evaluation, i, &Hits::correct); }); });
  out.write("}");
  out.close();
  atomic.commit();
}

std::string retention_text(const std::vector<SetRetention>& retention) {
  if (retention.empty()) return "";
  std::vector<Row> rows{{"retention, %", "", "pairs", "source first", "its mean 1/rank", "translation first", "its mean 1/rank"}};
  for (const auto& [set, source, target, figures] : retention)
    rows.push_back({set, source + "→" + target, grouped(figures.pairs), percent(figures.source_at_1), percent(figures.source_reciprocal_rank),
                    percent(figures.translation_at_1), percent(figures.translation_reciprocal_rank)});
  return aligned(rows);
}

boost::json::array retention_json(const std::vector<SetRetention>& retention) {
  boost::json::array list;
  for (const auto& [set, source, target, figures] : retention)
    list.push_back({{"set", set},
                    {"source", source},
                    {"target", target},
                    {"pairs", figures.pairs},
                    {"source_at_1", figures.source_at_1},
                    {"source_reciprocal_rank", figures.source_reciprocal_rank},
                    {"translation_at_1", figures.translation_at_1},
                    {"translation_reciprocal_rank", figures.translation_reciprocal_rank}});
  return list;
}

namespace {

std::string cell_text(const Estimate& estimate) { return fmt::format("{} [{}]", percent(estimate.value), interval_text(estimate)); }

// Means of the further measures; empty without any.
std::string further_table(const ReportInput& input) {
  const auto measures = further_measures_of(input);
  if (measures.empty()) return "";
  std::vector<Row> rows{{fmt::format("%, mean of {}", both_or_all(input))}};
  for (const Measure& measure : measures) rows[0].push_back(title_of(measure));
  for (const auto& arm : input.arms) {
    rows.push_back({arm.title});
    for (const Measure& measure : measures) rows.back().push_back(cell_text(arm.evaluation.mean.at(measure)));
  }
  return "\n" + aligned(rows) + further_text(input) + "\n";
}

// By what training has seen; empty where that is the same of all categories, or not known.
std::string groups_table(const ReportInput& input) {
  if (!shows_groups(input)) return "";
  const Measure first = cutoffs_of(input).front();
  std::vector<Row> rows{{fmt::format("{}, %", title_of(first))}, {"queries"}};
  for (const auto& group : input.arms.front().evaluation.groups) {
    rows[0].push_back(title_of(group));
    rows[1].push_back(grouped(std::accumulate(group.queries.begin(), group.queries.end(), int64_t{0})));
  }
  for (const auto& arm : input.arms) {
    rows.push_back({arm.title});
    for (const auto& group : arm.evaluation.groups) rows.back().push_back(cell_text(group.mean.at(first)));
  }
  return "\n" + aligned(rows) + "Categories by what training images show; galleries are whole.\n";
}

}  // namespace

std::string table_text(const ReportInput& input) {
  std::vector<const ArmResult*> all;
  for (const auto& arm : input.arms) all.push_back(&arm);
  std::string text = table(input, "%", all, [&](const ArmResult& arm, const Column& column) {
    const auto& estimate = column.estimate(arm);
    return fmt::format("{}{} [{}]", column.best(input) == &arm ? "*" : "", percent(estimate.value), interval_text(estimate));
  });
  text += protocol_text(input) + ". * best.\n" + further_table(input) + groups_table(input);
  for (const auto* reference : references_of(input))
    text += "\n" + table(input, "less " + reference->title, arms_compared_with(input, *reference),
                         [&](const ArmResult& arm, const Column& column) { return difference_text(column.estimate(arm, *reference)); });
  if (!references_of(input).empty()) text += differences_text(input, "*") + "\n";
  const auto retention = retention_text(retention_of(input));
  return retention.empty() ? text : text + "\n" + retention + retention_note + "\n";
}

boost::json::object metrics_json(const ReportInput& input, const std::string& baseline_name, const std::string& main_name) {
  boost::json::array cutoffs;
  for (const int64_t k : cutoffs_of(input)) cutoffs.emplace_back(k);
  boost::json::value domains(boost::json::array(input.domains.begin(), input.domains.end()));
  if (input.domains.size() == 2) domains = {{"a", input.domains[0]}, {"b", input.domains[1]}};
  boost::json::object result{{"protocol", protocol_text(input)}, {"domains", std::move(domains)}}, controls;
  for (const auto& arm : input.arms) {
    auto figures = arm_json(arm, baseline_of(input));
    if (arm.name == baseline_name) result["cds"] = std::move(figures);
    else if (arm.name == main_name) result["syncdr"] = std::move(figures);
    else controls[arm.name] = std::move(figures);
  }
  result["controls"] = std::move(controls);
  result["settings"] = {
      {"split", input.split}, {"protocol", input.arms.front().evaluation.protocol}, {"cutoffs", std::move(cutoffs)}, {"configuration", input.configuration}};
  return result;
}

}  // namespace syncdr::evaluation
