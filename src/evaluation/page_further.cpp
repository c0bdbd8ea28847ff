#include "arms.h"
#include "html.h"
#include "page.h"

/// Figures beside the headline's, and figures of groups of categories.
namespace syncdr::evaluation {
namespace {

std::string cell(const Estimate& estimate) {
  return fmt::format("<td><span>{}</span><small>{}</small></td>", percent(estimate.value), interval_text(estimate));
}

// head: cells of the first line; rows: those below it.
std::string figure(const std::string& label, const std::string& head, const std::string& rows, const std::string& caption) {
  return fmt::format(
      "<details>\n<summary>{}</summary>\n<figure class=\"results\">\n{}<table>\n<thead><tr>{}</tr></thead>\n{}</table></div>\n"
      "<figcaption>{}</figcaption>\n</figure>\n</details>\n",
      label, scroll_box(label), head, rows, escape(caption));
}

std::string further_figures(const ReportInput& input) {
  const auto measures = further_measures_of(input);
  if (measures.empty()) return "";
  std::string head = "<th scope=\"col\">%</th>", rows;
  for (const Measure& measure : measures) head += fmt::format("<th scope=\"col\">{}</th>", title_of(measure));
  const auto add = [&](const std::string& title, const auto& figures_of_arm) {
    rows += fmt::format("<tbody><tr><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>\n", measures.size() + 1, title);
    for (const auto& arm : input.arms) {
      rows += fmt::format("<tr><th scope=\"row\">{}</th>", escape(arm.title));
      for (const Measure& measure : measures) rows += cell(figures_of_arm(arm.evaluation).at(measure));
      rows += "</tr>\n";
    }
    rows += "</tbody>\n";
  };
  add("Mean of " + both_or_all(input), [](const Evaluation& evaluation) -> const auto& { return evaluation.mean; });
  for (size_t i = 0; i < directions_of(input).size(); ++i)
    add(escape(name_of(directions_of(input)[i], " → ")), [i](const Evaluation& evaluation) -> const auto& { return evaluation.directions[i].figures; });
  return figure("Further figures", head, rows, further_text(input));
}

std::string groups(const ReportInput& input) {
  if (!shows_groups(input)) return "";
  const auto cutoffs = cutoffs_of(input);
  std::string head = "<th scope=\"col\">%, mean of " + both_or_all(input) + "</th>", rows;
  const auto& shown = input.arms.front().evaluation.groups;
  for (const auto& [measure, estimate] : shown.front().mean) head += fmt::format("<th scope=\"col\">{}</th>", title_of(measure));
  for (size_t g = 0; g < shown.size(); ++g) {
    std::vector<std::string> queries;
    for (const int64_t count : shown[g].queries) queries.push_back(grouped(count));
    rows += fmt::format("<tbody><tr><th scope=\"rowgroup\" colspan=\"{}\">{}<span class=\"tag\">{} queries</span></th></tr>\n", shown[g].mean.size() + 1,
                        title_of(shown[g]), fmt::join(queries, " + "));
    for (const auto& arm : input.arms) {
      rows += fmt::format("<tr><th scope=\"row\">{}</th>", escape(arm.title));
      for (const auto& [measure, estimate] : arm.evaluation.groups.at(g).mean) rows += cell(estimate);
      rows += "</tr>\n";
    }
    rows += "</tbody>\n";
  }
  return figure("Categories that training has seen, or has not", head, rows,
                fmt::format("{} protocol as above. A category is seen if training images of a domain show it; galleries are whole.",
                            protocol_name(input.arms.front().evaluation)));
}

}  // namespace

std::string further_section(const ReportInput& input) { return further_figures(input) + groups(input); }

}  // namespace syncdr::evaluation
