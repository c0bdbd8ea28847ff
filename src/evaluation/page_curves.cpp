#include "page.h"

#include "arms.h"
#include "html.h"
#include "svg.h"
#include "syncdr/core/log.h"
#include "syncdr/training/metric_log.h"

namespace syncdr::evaluation {
namespace {

struct Log {
  std::string title;
  std::vector<Series> figures;  // their titles are names of the log
};

// Rates say how fast the machine was, and the checksum whether two runs are the same; neither says how training went.
bool is_rate(const std::string& name) { return name == "learning_rate" || name == "bank_checksum" || name.ends_with("_per_second"); }
bool is_validation(const std::string& name) { return name.starts_with("val_"); }
bool is_share(const std::string& name) { return name == "val_score" || name == "val_mutual"; }

// The names of training logs in words; others stand as they are.
std::string words_for(const ReportInput& input, const std::string& name) {
  static const std::map<std::string, std::string> words{{"val_mutual", "validation without labels: mutual neighbours, %"},
                                                        {"val_uniformity", "validation without labels: uniformity, less is better"},
                                                        {"val_alignment", "alignment of pairs, less is better"},
                                                        {"loss_id", "instance discrimination"},
                                                        {"loss_cdm", "cross-domain matching"},
                                                        {"loss_ppp", "pseudo-positive pairs"}};
  if (name == "val_score") return fmt::format("validation: mean Prec@1 of {} directions, %", both_or_all(input));
  const auto found = words.find(name);
  return found == words.end() ? name : found->second;
}

std::optional<Log> read_log(const std::string& title, const std::filesystem::path& file) {
  if (file.empty()) return std::nullopt;
  if (!std::filesystem::exists(file)) {
    core::warn("{} is missing: the report has no curves of \"{}\".", file.string(), title);
    return std::nullopt;
  }
  Log log{title, {}};
  for (const auto& [name, curve] : training::read_metrics(file))
    if (!is_rate(name)) log.figures.push_back({name, {curve.begin(), curve.end()}});
  return log;
}

// One figure of all arms.
std::string across_arms(const ReportInput& input, const std::vector<Log>& logs, const std::string& name) {
  LinePlot plot{words_for(input, name), "training step", {}, is_share(name)};
  for (const auto& log : logs)
    for (const auto& figure : log.figures)
      if (figure.title == name) plot.series.push_back({log.title, figure.points});
  return plot.series.empty() ? "" : line_plot(plot);
}

std::vector<std::string> names_of(const std::vector<Log>& logs) {
  std::vector<std::string> names;
  for (const auto& log : logs)
    for (const auto& figure : log.figures)
      if (std::find(names.begin(), names.end(), figure.title) == names.end()) names.push_back(figure.title);
  return names;
}

std::string grid(const std::string& charts) { return charts.empty() ? "" : "<div class=\"charts\">\n" + charts + "</div>\n"; }

}  // namespace

std::string curves_section(const ReportInput& input) {
  std::vector<Log> arms;
  for (const auto& arm : input.arms)
    if (auto log = read_log(arm.title, arm.log)) arms.push_back(std::move(*log));
  std::string terms, fits, validations;
  for (const auto& name : names_of(arms))
    if (name != "loss") (is_validation(name) ? validations : terms) += across_arms(input, arms, name);
  for (const auto& [title, file] : input.curves)
    if (const auto log = read_log(title, file); log && !log->figures.empty()) fits += line_plot({title, "training step", log->figures});
  std::string html = grid(across_arms(input, arms, "loss") + validations);
  if (!terms.empty()) html += "<h3>Terms of the loss, before their weights</h3>\n" + grid(terms);
  if (!fits.empty()) html += "<h3>Training of the translators</h3>\n" + grid(fits);
  if (html.empty()) return "";
  return "<section>\n<h2 id=\"training\">Training</h2>\n<p>Lines are means over equal stretches where there are more steps than the plot is wide. " +
         kept_epochs_text(input) + "</p>\n" + html + "</section>\n";
}

}  // namespace syncdr::evaluation
