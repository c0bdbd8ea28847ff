#include "syncdr/evaluation/report.h"

#include "arms.h"
#include "html.h"
#include "page.h"
#include "style.h"
#include "svg.h"
#include "syncdr/io/atomic_file.h"

namespace syncdr::evaluation {
namespace {

// What the reader came for, in a sentence or two.
std::string finding(const ReportInput& input) {
  const ArmResult *main = main_of(input), *baseline = baseline_of(input);
  if (!main) main = std::exchange(baseline, nullptr);
  if (!main) return "";
  const int64_t k = cutoffs_of(input).front();
  const auto sentence = [&](const ArmResult& arm) {
    const auto& estimate = arm.evaluation.mean.at(k);
    return fmt::format("<strong>{} %</strong> <span class=\"whole\">(95 % interval {})</span>", percent(estimate.value), interval_text(estimate));
  };
  std::string html = fmt::format("<p class=\"finding\">{} reaches a mean Prec@{} of {}", escape(main->title), k, sentence(*main));
  if (baseline && baseline != main) html += fmt::format("; {}, {}", escape(baseline->title), sentence(*baseline));
  html += ".";
  if (const auto compared = arms_compared_with(input, *(baseline ? baseline : main)); std::find(compared.begin(), compared.end(), main) != compared.end()) {
    const auto& points = Column{std::nullopt, k}.estimate(*main, *baseline);
    html += fmt::format(" On the same queries that is {:+.1f} points <span class=\"whole\">(95 % interval {:.1f} to {:.1f})</span>.", 100 * points.value,
                        100 * points.low, 100 * points.high);
  }
  return html + "</p>\n";
}

// The mean first: it is what the reader came for.
std::vector<Column> columns_with_mean_first(const ReportInput& input) {
  auto columns = columns_of(input);
  std::stable_partition(columns.begin(), columns.end(), [](const Column& column) { return !column.direction; });
  return columns;
}

bool opens_group(const ReportInput& input, const Column& column) { return column.k == cutoffs_of(input).front(); }

std::string table_head(const ReportInput& input, const std::string& corner) {
  std::string groups = "<tr><td></td>", names = fmt::format("<tr><th scope=\"col\"><span class=\"muted\">{}</span></th>", escape(corner));
  for (const Column& column : columns_with_mean_first(input)) {
    const bool first = opens_group(input, column);
    const auto title = column.direction ? escape(column.title(input, " → ")) : "Mean of " + both_or_all(input);
    if (first) groups += fmt::format("<th scope=\"colgroup\" colspan=\"{}\">{}</th>", cutoffs_of(input).size(), title);
    names += fmt::format("<th scope=\"col\"{}>Prec@{}</th>", first ? " class=\"first\"" : "", column.k);
  }
  return "<thead>" + groups + "</tr>\n" + names + "</tr></thead>\n";
}

std::string row_head(const ReportInput& input, const ArmResult& arm, const std::string& tag) {
  return fmt::format("<tr{}><th scope=\"row\">{}{}</th>", &arm == main_of(input) ? " class=\"main\"" : "", escape(arm.title),
                     tag.empty() ? "" : "<span class=\"tag\">" + escape(tag) + "</span>");
}

// How its epoch was chosen, and what the other choice would have reached.
std::string choice_text(const ReportInput& input, const ArmResult& arm) {
  if (!arm.evaluation.collapsed.empty())
    return fmt::format("collapsed: the features of {} are nearly all the same", fmt::join(arm.evaluation.collapsed, " and "));
  if (arm.ceiling) return "a ceiling, not a method";
  const bool labels = arm.selected_by == "labels";
  std::string text;
  if (labels && arm.validation_score > 0) text = fmt::format("validation {} %", percent(arm.validation_score));
  if (arm.best_epoch == 0) return text;
  if (arm.selected_by == "last") return fmt::format("the last epoch, {}: nothing was validated", arm.best_epoch);
  text = labels ? fmt::format("{} at epoch {}", text, arm.best_epoch) : fmt::format("epoch {}, chosen by {}", arm.best_epoch, arm.selected_by);
  if (!arm.other) return text;
  const int64_t k = cutoffs_of(input).front();
  return fmt::format("{}; by {} epoch {}: mean {}", text, arm.other->by, arm.other->epoch, percent(arm.other->mean.at(k).value));
}

std::string table_row(const ReportInput& input, const ArmResult& arm) {
  std::string html = row_head(input, arm, choice_text(input, arm));
  for (const Column& column : columns_with_mean_first(input)) {
    const auto& estimate = column.estimate(arm);
    html += fmt::format("<td class=\"{}{}\"><span>{}</span><small>{}</small></td>", opens_group(input, column) ? "first " : "",
                        column.best(input) == &arm ? "best" : "", percent(estimate.value), interval_text(estimate));
  }
  return html + "</tr>\n";
}

// What arms reach more than another arm; empty if none was compared with it.
std::string differences_table(const ReportInput& input, const ArmResult& reference) {
  std::string html = scroll_box("Differences") + "<table aria-describedby=\"differences\">\n" + table_head(input, "less " + reference.title) + "<tbody>\n";
  for (const auto* arm : arms_compared_with(input, reference)) {
    html += row_head(input, *arm, "");
    for (const Column& column : columns_with_mean_first(input)) {
      const auto& estimate = column.estimate(*arm, reference);
      const bool certain = estimate.low > 0 || estimate.high < 0;
      html += fmt::format("<td class=\"{}{}\"><span>{:+.1f}</span><small>{:.1f} to {:.1f}</small></td>", opens_group(input, column) ? "first " : "",
                          certain ? "certain" : "", 100 * estimate.value, 100 * estimate.low, 100 * estimate.high);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string differences_section(const ReportInput& input) {
  std::string tables;
  for (const auto* reference : references_of(input)) tables += differences_table(input, *reference);
  if (tables.empty()) return "";
  return fmt::format("<h3>Differences</h3>\n<figure class=\"results\">\n{}<figcaption id=\"differences\">{}</figcaption>\n</figure>\n", tables,
                     escape(differences_text(input, "what is bold")));
}

std::string headline_section(const ReportInput& input) {
  const auto cutoffs = cutoffs_of(input);
  std::string html =
      "<section>\n<h2 id=\"results\">Results</h2>\n<figure class=\"results\">\n" + scroll_box("Results") + "<table aria-describedby=\"protocol\">\n";
  html += table_head(input, "trained with") + "<tbody>\n";
  for (const auto& arm : input.arms) html += table_row(input, arm);
  html += "</tbody></table></div>\n";
  html += fmt::format(
      "<figcaption id=\"protocol\">{}. In %; below each figure its interval; the best of each column is "
      "underlined.</figcaption>\n</figure>\n",
      escape(protocol_text(input)));
  html += differences_section(input) + further_section(input);
  std::vector<Whisker> rows;
  for (const auto& arm : input.arms) {
    const auto& mean = arm.evaluation.mean.at(cutoffs.front());
    rows.push_back({arm.title, mean.value, mean.low, mean.high, &arm == main_of(input), arm.ceiling});
  }
  const auto description = fmt::format("Mean Prec@{} of {} directions of each method with its 95 % interval", cutoffs.front(), both_or_all(input));
  return html + fmt::format("<figure class=\"overview\"><figcaption>{}</figcaption>{}</figure>\n</section>\n", description,
                            whisker_plot(description, cutoffs.front(), rows));
}

std::string retention_section(const ReportInput& input) {
  const auto all = retention_of(input);
  if (all.empty()) return "";
  std::string html =
      "<section>\n<h2 id=\"retention\">Retention</h2>\n<figure class=\"results\">\n" + scroll_box("Retention") + "<table>\n<thead><tr><th scope=\"col\">%</th>";
  for (const auto* head : {"pairs", "source first", "its mean 1/rank", "translation first", "its mean 1/rank"})
    html += fmt::format("<th scope=\"col\">{}</th>", head);
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& [set, source, target, figures] : all) {
    html += fmt::format("<tr><th scope=\"row\">{}<span class=\"tag\">{} → {}</span></th><td>{}</td>", escape(set), escape(source), escape(target),
                        grouped(figures.pairs));
    for (const double share : {figures.source_at_1, figures.source_reciprocal_rank, figures.translation_at_1, figures.translation_reciprocal_rank})
      html += "<td>" + percent(share) + "</td>";
    html += "</tr>\n";
  }
  return html + fmt::format("</tbody></table></div>\n<figcaption>{}</figcaption>\n</figure>\n</section>\n", retention_note);
}

/// Links to what the page has.
std::string contents(const std::string& main) {
  std::string html = "<nav aria-label=\"Contents\"><ul>";
  constexpr std::string_view opening = "<h2 id=\"";
  for (size_t at = main.find(opening); at != std::string::npos; at = main.find(opening, at + 1)) {
    const size_t id = at + opening.size(), id_end = main.find('"', id), text = main.find('>', id_end) + 1;
    html += fmt::format("<li><a href=\"#{}\">{}</a></li>", main.substr(id, id_end - id), main.substr(text, main.find('<', text) - text));
  }
  return html + "</ul></nav>\n";
}

}  // namespace

std::string scroll_box(const std::string& label) { return "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" + escape(label) + "\">\n"; }

std::string whole_page(const std::string& title, const std::string& below_title, const std::string& main) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<header>\n<h1>{0}</h1>\n{2}{3}</header>\n<main>\n{4}</main>\n<footer>Made by syncdr. Method: "
      "SynCDR, <a href=\"https://arxiv.org/abs/2401.00420\">arXiv 2401.00420</a>.</footer>\n</body>\n</html>\n",
      escape(title), page_style, below_title, contents(main), main);
}

void write_report(const std::filesystem::path& file, const data::Dataset& dataset, const ReportInput& input) {
  const auto subtitle = fmt::format("<p class=\"subtitle\">Retrieval across domains: {}, {} {} images</p>\n",
                                    escape(fmt::format("{}", fmt::join(input.domains, " ↔ "))), fmt::join(queries_of(input), " and "), escape(input.split));
  const auto main = headline_section(input) + retention_section(input) + pairs_section(dataset, input) + retrieval_section(dataset, input) +
                    confusion_section(dataset, input) + maps_section(input) + curves_section(input) + calls_section(input) + configuration_section(input) +
                    quarantine_section(dataset, input);
  io::write_file(file, whole_page(input.title, subtitle + finding(input), main));
}

}  // namespace syncdr::evaluation
