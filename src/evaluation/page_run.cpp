#include <algorithm>
#include <cmath>
#include <set>

#include "arms.h"
#include "html.h"
#include "page.h"

/// How the run was made: time and cost of its phases, machines, versions, settings.
namespace syncdr::evaluation {
namespace {

std::string plural(int64_t count, const std::string& noun) { return fmt::format("{} {}{}", grouped(count), noun, count == 1 ? "" : "s"); }

std::string cost_row(const std::string& head, const PhaseCost& cost) {
  const bool known = cost.seconds_of_images > 0;
  return fmt::format("<tr>{}<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", head, duration_text(cost.seconds),
                     known ? grouped(cost.images) : "", known ? short_number(static_cast<double>(cost.images) / cost.seconds_of_images) : "",
                     short_number(cost.thread_hours), short_number(cost.gpu_hours));
}

// Texts of all calls, each once, in their order.
template <class Text> std::string each_once(const std::vector<PhaseCall>& calls, const Text& text) {
  std::vector<std::string> all;
  for (const auto& call : calls)
    if (auto one = text(call); !one.empty() && std::find(all.begin(), all.end(), one) == all.end()) all.push_back(std::move(one));
  return fmt::format("{}", fmt::join(all, "; "));
}

std::string machine_text(const PhaseCall& call) {
  std::string text = plural(call.ranks, "rank") + " on " + plural(std::ssize(call.hosts), "host") + ", " + plural(call.threads, "compute thread") + " of " +
                     (call.processor.empty() ? "an unknown processor" : call.processor);
  if (call.gpus > 0) text += ", " + plural(call.gpus, "GPU") + (call.gpu.empty() ? "" : " (" + call.gpu + ")");
  return text;
}

std::string versions_text(const PhaseCall& call) {
  std::vector<std::string> parts;
  for (const auto& [name, version] : call.versions) parts.push_back(name + " " + version);
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string definition(const std::string& term, const std::string& text) {
  return text.empty() ? "" : fmt::format("<dt>{}</dt><dd>{}</dd>\n", term, escape(text));
}

/// The configuration, line by line: a setting that is not as it is by default is marked.
std::string marked_configuration(const ReportInput& input) {
  std::set<std::string> changed;
  for (const auto& setting : input.settings)
    if (setting.changed()) changed.insert(setting.key);
  std::string html, table;
  for (size_t first = 0; first < input.configuration.size();) {
    const size_t last = std::min(input.configuration.find('\n', first), input.configuration.size());
    const auto line = input.configuration.substr(first, last - first);
    first = last + 1;
    if (line.starts_with('[')) table = line.substr(1, line.find(']') - 1) + ".";
    const bool marked = changed.contains(table + line.substr(0, line.find(" = ")));
    html += (marked ? "<mark>" + escape(line) + "</mark>" : escape(line)) + "\n";
  }
  return html;
}

std::string changed_table(const ReportInput& input) {
  std::string rows;
  for (const auto& setting : input.settings)
    if (setting.changed())
      rows += fmt::format("<tr><th scope=\"row\"><code>{}</code></th><td class=\"text\"><code>{}</code></td><td class=\"text\"><code>{}</code></td></tr>\n",
                          escape(setting.key), escape(setting.value), escape(setting.preset));
  if (rows.empty()) return "";
  return "<details>\n<summary>Settings that are not as by default</summary>\n" + scroll_box("Changed settings") +
         "<table class=\"list\">\n<thead><tr><th scope=\"col\">setting</th><th scope=\"col\">here</th><th scope=\"col\">default</th></tr></thead>\n<tbody>\n" +
         rows + "</tbody></table></div>\n</details>\n";
}

}  // namespace

std::string short_number(double value) {
  if (value > 0 && value < 0.01) return "&lt; 0.01";
  return value < 100 ? fmt::format("{:.3g}", value) : grouped(std::llround(value));
}

std::string duration_text(double seconds) {
  if (seconds < 100) return fmt::format("{:.3g} s", seconds);
  const auto minutes = static_cast<int64_t>(std::llround(seconds / 60));
  return minutes < 100 ? fmt::format("{} min", minutes) : fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
}

std::string calls_section(const ReportInput& input) {
  if (input.calls.empty()) return "";
  PhaseCost sum{.phase = "all"};
  std::string rows;
  for (const auto& cost : costs_of(input.calls)) {
    rows += cost_row(fmt::format("<th scope=\"row\">{}{}</th>", escape(cost.phase + (cost.subject.empty() ? "" : " " + cost.subject)),
                                 cost.calls == 1 ? "" : fmt::format("<span class=\"tag\">{} calls</span>", cost.calls)),
                     cost);
    sum.seconds += cost.seconds;
    sum.thread_hours += cost.thread_hours;
    sum.gpu_hours += cost.gpu_hours;
  }
  std::string html =
      "<section>\n<h2 id=\"cost\">Time and cost</h2>\n<figure class=\"results\">\n" + scroll_box("Time and cost") +
      "<table>\n<thead><tr><th scope=\"col\">phase</th><th scope=\"col\">wall time</th><th scope=\"col\">images</th><th scope=\"col\">images/s</th>"
      "<th scope=\"col\">core-hours</th><th scope=\"col\">GPU-hours</th></tr></thead>\n<tbody>\n" +
      rows + cost_row("<th scope=\"row\">all</th>", sum) +
      "</tbody></table></div>\n<figcaption>Of every call that did something and ended in order; what a kill has cost is not counted. Core-hours: "
      "wall time times the threads that compute, of all ranks; GPU-hours: times GPUs. Images of a training are those of its batches, each as often as it was "
      "drawn.</figcaption>\n</figure>\n<dl class=\"facts\">\n";
  html += definition("Machines", each_once(input.calls, machine_text)) +
          definition("Hosts", each_once(input.calls, [](const PhaseCall& call) { return fmt::format("{}", fmt::join(call.hosts, ", ")); })) +
          definition("Versions", each_once(input.calls, versions_text)) + definition("Last call", input.calls.back().ended);
  return html + "</dl>\n</section>\n";
}

std::string configuration_section(const ReportInput& input) {
  const auto changed = std::count_if(input.settings.begin(), input.settings.end(), [](const Setting& setting) { return setting.changed(); });
  return fmt::format(
      "<section>\n<h2 id=\"repeat\">How to repeat this</h2>\n<p>Save the configuration below as <code>run.toml</code>, then:</p>\n"
      "<pre tabindex=\"0\">mpirun -np 2 syncdr run run.toml</pre>\n"
      "<p>Translations depend on the seed, the image and the model, not on the number of processes; the seed also fixes the resampling "
      "behind the intervals. {}{} were used for the figures above and for nothing else.</p>\n{}"
      "<details><summary>Configuration</summary>\n{}<pre tabindex=\"0\">{}</pre>\n</details>\n</section>\n",
      input.seed ? fmt::format("The seed was {}. ", *input.seed) : "", input.split == "train" ? "The labels of the training images" : "Test images",
      changed_table(input),
      changed > 0 ? fmt::format("<p>All {} settings; the {} that are not as by default are marked.</p>\n", input.settings.size(), changed) : "",
      marked_configuration(input));
}

}  // namespace syncdr::evaluation
