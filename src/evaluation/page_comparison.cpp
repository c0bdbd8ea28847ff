#include <boost/json/array.hpp>
#include <set>

#include "arms.h"
#include "compared.h"
#include "html.h"
#include "page.h"
#include "svg.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"
#include "syncdr/training/metric_log.h"

namespace syncdr::evaluation {
namespace {

/// A column of the figures: a name in metrics.json, in words, and k.
struct Shown {
  std::string which, title;
  int64_t k;
};

// The mean at every k, then each direction at the smallest.
std::vector<Shown> shown_columns(const std::vector<ComparedRun>& runs) {
  const auto cutoffs = shared_cutoffs(runs);
  std::vector<Shown> columns;
  for (const int64_t k : cutoffs) columns.push_back({"mean", "mean", k});
  for (const auto& [name, title] : shared_directions(runs)) columns.push_back({name, title, cutoffs.front()});
  return columns;
}

std::string head(const std::vector<Shown>& columns) {
  std::string html = "<thead><tr><th scope=\"col\"></th>";
  for (const auto& column : columns) html += fmt::format("<th scope=\"col\">Prec@{}<span class=\"tag\">{}</span></th>", column.k, escape(column.title));
  return html + "</tr></thead>\n";
}

std::string arm_head(const std::string& arm, size_t columns) {
  return fmt::format("<tbody>\n<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>\n", columns + 1, escape(arm));
}

std::string figures_table(const std::vector<ComparedRun>& runs) {
  const auto columns = shown_columns(runs);
  std::string html = scroll_box("Figures of all runs") + "<table>\n" + head(columns);
  for (const auto& name : arm_names(runs)) {
    html += arm_head(name, columns.size());
    std::vector<double> best(columns.size(), -1), worst(columns.size(), 2);
    for (const auto& run : runs)
      if (const auto* arm = arm_of(run, name))
        for (size_t i = 0; i < columns.size(); ++i) {
          const double value = figure_of(run, *arm, columns[i].k, columns[i].which).value;
          best[i] = std::max(best[i], value);
          worst[i] = std::min(worst[i], value);
        }
    for (const auto& run : runs) {
      const auto* arm = arm_of(run, name);
      if (!arm) continue;
      html += fmt::format("<tr><th scope=\"row\">{}</th>", escape(run.name));
      for (size_t i = 0; i < columns.size(); ++i) {
        const auto estimate = figure_of(run, *arm, columns[i].k, columns[i].which);
        html += fmt::format("<td class=\"{}\"><span>{}</span><small>{}</small></td>", estimate.value == best[i] && best[i] > worst[i] ? "best" : "",
                            percent(estimate.value), interval_text(estimate));
      }
      html += "</tr>\n";
    }
    html += "</tbody>\n";
  }
  return html + "</table></div>\n";
}

// Whether all runs were measured alike.
std::string protocols(const std::vector<ComparedRun>& runs) {
  std::vector<std::string> texts;
  for (const auto& run : runs) texts.push_back(io::json_string(run.metrics, "protocol", run.folder + "/metrics.json"));
  if (std::all_of(texts.begin(), texts.end(), [&](const auto& text) { return text == texts.front(); })) return escape(texts.front()) + ".";
  std::string html = "<strong>The runs were not measured alike: their figures cannot be held against each other.</strong>";
  for (size_t i = 0; i < runs.size(); ++i) html += fmt::format("<br>{}: {}.", escape(runs[i].name), escape(texts[i]));
  return html;
}

std::string figures_section(const std::vector<ComparedRun>& runs) {
  return "<section>\n<h2 id=\"results\">Results</h2>\n<figure class=\"results\">\n" + figures_table(runs) + "<figcaption>" + protocols(runs) +
         " In %; below each figure its interval; the best run of each arm is underlined.</figcaption>\n</figure>\n</section>\n";
}

std::string differences_section(const std::vector<ComparedRun>& runs, const std::vector<RunDifference>& differences) {
  const auto& first = runs.front().name;
  std::string html = "<section>\n<h2 id=\"differences\">Differences</h2>\n";
  for (const auto& sentence : left_out_of_differences(runs)) html += "<p>" + escape(sentence) + "</p>\n";
  if (differences.empty())
    return html +
           fmt::format("<p>No run shares an arm with {} and was measured on the same queries and galleries, so that nothing can be compared.</p>\n</section>\n",
                       escape(first));
  const auto cutoffs = shared_cutoffs(runs);
  html += "<figure class=\"results\">\n" + scroll_box("Differences") + "<table>\n<thead><tr><th scope=\"col\">less " + escape(first) + "</th>";
  for (const int64_t k : cutoffs) html += fmt::format("<th scope=\"col\">Prec@{}<span class=\"tag\">mean</span></th>", k);
  html += "</tr></thead>\n";
  for (const auto& name : arm_names(runs)) {
    std::string rows;
    for (const auto& difference : differences) {
      if (difference.arm != name) continue;
      rows += fmt::format("<tr><th scope=\"row\">{}</th>", escape(difference.run));
      for (const int64_t k : cutoffs) {
        const auto& estimate = difference.figures.mean.at(k);
        rows += fmt::format("<td class=\"{}\"><span>{:+.1f}</span><small>{:.1f} to {:.1f}</small></td>", estimate.low > 0 || estimate.high < 0 ? "certain" : "",
                            100 * estimate.value, 100 * estimate.low, 100 * estimate.high);
      }
      rows += "</tr>\n";
    }
    if (!rows.empty()) html += arm_head(name, cutoffs.size()) + rows + "</tbody>\n";
  }
  return html +
         fmt::format(
             "</table></div>\n<figcaption>In points, on the same queries, with 95 % intervals that draw {} for both runs at once: what is bold leaves "
             "zero out. It says nothing of other seeds: runs that differ in their seed alone show how much that is.</figcaption>\n</figure>\n</section>\n",
             name_of(differences.front().unit));
}

std::string settings_section(const std::vector<ComparedRun>& runs) {
  const auto differing = differing_settings(runs);
  const auto all = runs.front().settings.size();
  if (differing.empty()) return fmt::format("<section>\n<h2 id=\"settings\">Settings</h2>\n<p>All {} settings are the same.</p>\n</section>\n", all);
  std::string html = fmt::format("<section>\n<h2 id=\"settings\">Settings that differ</h2>\n<p>{} of {}.</p>\n", differing.size(), all) +
                     scroll_box("Settings that differ") + "<table class=\"list\">\n<thead><tr><th scope=\"col\">setting</th>";
  for (const auto& run : runs) html += "<th scope=\"col\">" + escape(run.name) + "</th>";
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& [key, values] : differing) {
    html += fmt::format("<tr><th scope=\"row\"><code>{}</code></th>", escape(key));
    for (const auto& value : values) html += fmt::format("<td class=\"text\"><code>{}</code></td>", escape(value));
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n</section>\n";
}

// Of the figure `name` of all runs' logs of an arm.
std::string curve(const std::vector<ComparedRun>& runs, const std::string& arm, const std::string& name, const std::string& title, bool share) {
  LinePlot plot{fmt::format("{}: {}", arm, title), "training step", {}, share};
  for (const auto& run : runs)
    for (const auto& [of, log] : run.logs) {
      if (of != arm || !std::filesystem::exists(log)) continue;
      const auto points = training::read_metric(log, name);
      if (!points.empty()) plot.series.push_back({run.name, {points.begin(), points.end()}});
    }
  return plot.series.empty() ? "" : line_plot(plot);
}

std::string curves(const std::vector<ComparedRun>& runs) {
  std::string charts;
  for (const auto& arm : arm_names(runs)) charts += curve(runs, arm, "loss", "loss", false) + curve(runs, arm, "val_score", "validation, mean Prec@1, %", true);
  if (charts.empty()) return "";
  return "<section>\n<h2 id=\"training\">Training</h2>\n<p>A line for each run. Losses of runs whose settings differ may have other scales; validations are "
         "alike "
         "where the data are.</p>\n<div class=\"charts\">\n" +
         charts + "</div>\n</section>\n";
}

std::string retention_table(const std::vector<ComparedRun>& runs) {
  std::string rows;
  for (const auto& run : runs) {
    std::set<std::string> seen;
    for (const auto& arm : arms_of(run)) {
      const auto* list = arm.figures->if_contains("retention");
      if (!list || !list->is_array()) continue;
      for (const auto& item : list->get_array()) {
        const auto where = run.folder + "/metrics.json";
        const auto& entry = io::as_object(item, where);
        const auto what =
            io::json_string(entry, "set", where) + ", " + io::json_string(entry, "source", where) + " → " + io::json_string(entry, "target", where);
        if (!seen.insert(what).second) continue;
        rows += fmt::format("<tr><th scope=\"row\">{}<span class=\"tag\">{}</span></th>", escape(run.name), escape(what));
        for (const char* figure : {"source_at_1", "translation_at_1"}) rows += "<td>" + percent(io::json_double(entry, figure, where)) + "</td>";
        rows += "</tr>\n";
      }
    }
  }
  if (rows.empty()) return "";
  return "<section>\n<h2 id=\"retention\">Retention</h2>\n<figure class=\"results\">\n" + scroll_box("Retention") +
         "<table class=\"list\">\n<thead><tr><th scope=\"col\">%</th><th scope=\"col\">source first</th><th scope=\"col\">translation "
         "first</th></tr></thead>\n<tbody>\n" +
         rows + fmt::format("</tbody></table></div>\n<figcaption>{}</figcaption>\n</figure>\n</section>\n", retention_note);
}

std::string cost_section(const std::vector<ComparedRun>& runs) {
  std::string rows;
  for (const auto& run : runs)
    for (const auto& cost : costs_of(run.calls))
      rows += fmt::format("<tr><th scope=\"row\">{}<span class=\"tag\">{} {}</span></th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", escape(run.name),
                          escape(cost.phase), escape(cost.subject), duration_text(cost.seconds),
                          cost.seconds_of_images > 0 ? short_number(static_cast<double>(cost.images) / cost.seconds_of_images) : "",
                          short_number(cost.thread_hours), short_number(cost.gpu_hours));
  if (rows.empty()) return "";
  return "<section>\n<h2 id=\"cost\">Time and cost</h2>\n" + scroll_box("Time and cost") +
         "<table>\n<thead><tr><th scope=\"col\">run and phase</th><th scope=\"col\">wall time</th><th scope=\"col\">images/s</th><th "
         "scope=\"col\">core-hours</th>"
         "<th scope=\"col\">GPU-hours</th></tr></thead>\n<tbody>\n" +
         rows + "</tbody></table></div>\n</section>\n";
}

std::string overview(const std::vector<ComparedRun>& runs) {
  const int64_t k = shared_cutoffs(runs).front();
  std::vector<Whisker> rows;
  for (const auto& run : runs)
    for (const auto& arm : arms_of(run)) {
      const auto estimate = figure_of(run, *arm.figures, k, "mean");
      if (arm.name == run.main) rows.push_back({fmt::format("{}: {}", run.name, arm.name), estimate.value, estimate.low, estimate.high, false, false});
    }
  if (rows.empty()) return "";
  const auto description = fmt::format("Mean Prec@{} of each run's main arm with its 95 % interval", k);
  return fmt::format("<figure class=\"overview\"><figcaption>{}</figcaption>{}</figure>\n", description, whisker_plot(description, k, rows));
}

}  // namespace

void write_comparison(const std::filesystem::path& file, const std::vector<ComparedRun>& runs, const std::vector<RunDifference>& differences) {
  std::vector<std::string> names;
  for (const auto& run : runs) names.push_back(run.name);
  const auto title = fmt::format("Runs compared: {}", fmt::join(names, ", "));
  const auto main = figures_section(runs) + overview(runs) + differences_section(runs, differences) + settings_section(runs) + retention_table(runs) +
                    curves(runs) + cost_section(runs);
  io::write_file(file, whole_page(title, fmt::format("<p class=\"subtitle\">{} runs; differences are to {}</p>\n", runs.size(), escape(names.front())), main));
}

std::string comparison_text(const std::vector<ComparedRun>& runs, const std::vector<RunDifference>& differences) {
  const auto cutoffs = shared_cutoffs(runs);
  std::string text;
  for (const auto& name : arm_names(runs)) {
    text += name + "\n";
    for (const auto& run : runs)
      if (const auto* arm = arm_of(run, name)) {
        text += fmt::format("  {:<24}", run.name);
        for (const int64_t k : cutoffs) {
          const auto mean = figure_of(run, *arm, k, "mean");
          text += fmt::format("  Prec@{} {} [{}]", k, percent(mean.value), interval_text(mean));
        }
        text += "\n";
      }
  }
  for (const auto& [arm, run, unit, figures] : differences) {
    text += fmt::format("{} of {} less {}:", arm, run, runs.front().name);
    for (const auto& [measure, mean] : figures.mean) text += fmt::format("  {} {}", title_of(measure), difference_text(mean));
    text += "\n";
  }
  for (const auto& sentence : left_out_of_differences(runs)) text += sentence + "\n";
  return text;
}

}  // namespace syncdr::evaluation
