#include "plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "syncdr/core/svg.h"

namespace syncdr::plan {
namespace {

constexpr double plot_left = 64, plot_width = 350, plot_top = 60, plot_height = 230, plot_gap = 84;

// Colours stand in the rules themselves: programs that convert SVG know no variables.
constexpr const char* plot_style = R"css(
  svg { background: #fcfcfa; }
  text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #62666f; }
  .title { font-size: 14px; font-weight: 600; }
  .title, .name { fill: #1d1f23; }
  .grid { stroke: #dcdcd5; }
  .line { fill: none; stroke: #1f5fae; stroke-width: 2; }
  .ideal { fill: none; stroke: #62666f; stroke-dasharray: 4 4; }
  circle { fill: #1f5fae; }
  @media (prefers-color-scheme: dark) {
    svg { background: #17181b; }
    text { fill: #9a9da5; }
    .title, .name { fill: #e6e6e3; }
    .grid { stroke: #34363b; }
    .line { stroke: #7fb2f0; }
    .ideal { stroke: #9a9da5; }
    circle { fill: #7fb2f0; }
  }
)css";

/// What a time is shown in.
struct TimeUnit {
  const char* name;
  double seconds;
};
constexpr std::array<TimeUnit, 4> time_units{{{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}}};

const TimeUnit& unit_for(double seconds) { return time_units[seconds < 120 ? 0 : seconds < 2 * 3600 ? 1 : seconds < 2 * 86400 ? 2 : 3]; }

/// Round numbers on both sides of [low, high]: 1, 2, 5, 10 ... or, over many decades, powers of ten.
std::vector<double> logarithmic_ticks(double low, double high) {
  const auto steps = high / low < 500 ? std::vector<double>{1, 2, 5} : std::vector<double>{1};
  std::vector<double> ticks;
  for (double decade = std::pow(10, std::floor(std::log10(low))); ticks.empty() || ticks.back() < high; decade *= 10)
    for (const double step : steps) {
      const double tick = step * decade;
      if (tick <= low) ticks.clear();
      if (ticks.empty() || ticks.back() < high) ticks.push_back(tick);
    }
  return ticks;
}

std::string grid_line(double x1, double x2, double y1, double y2) {
  return fmt::format("<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n", x1, x2, y1, y2);
}

std::string label(double x, double y, const char* anchor, const std::string& text, const char* kind = "") {
  return fmt::format("<text{} x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", kind, x, y, anchor, core::escape(text));
}

std::string horizontal_rules(const core::PlotAxis& x, const core::PlotAxis& y, const std::vector<double>& ticks) {
  std::string svg;
  for (const double tick : ticks) svg += grid_line(x.from, x.to, y(tick), y(tick)) + label(x.from - 8, y(tick) + 4, "end", fmt::format("{:g}", tick));
  return svg;
}

std::string ranks_axis(const core::PlotAxis& x, double bottom, const std::vector<PlanPoint>& points) {
  std::string svg;
  double written = -1e9;  // labels that would touch are left out
  for (const auto& point : points) {
    const double at = x(static_cast<double>(point.ranks));
    svg += grid_line(at, at, bottom, bottom + 4);
    if (at - written < 30) continue;
    svg += label(at, bottom + 18, "middle", fmt::format("{}", point.ranks));
    written = at;
  }
  return svg + label((x.from + x.to) / 2, bottom + 38, "middle", "ranks");
}

template <class Value>
std::string curve(const char* kind, const core::PlotAxis& x, const core::PlotAxis& y, const std::vector<PlanPoint>& points, Value&& value) {
  std::vector<std::pair<double, double>> pixels;
  for (const auto& point : points) pixels.emplace_back(x(static_cast<double>(point.ranks)), y(value(point)));
  std::string marks;
  for (const auto& [px, py] : pixels) marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>", px, py);
  return fmt::format("<path class=\"{}\" d=\"{}\"/>\n", kind, core::path_through(pixels)) + (std::string(kind) == "line" ? marks + "\n" : "");
}

}  // namespace

std::string duration_text(double seconds) {
  if (!(seconds < 100.0 * 365 * 86400)) return "never";
  const auto& unit = unit_for(seconds);
  const double value = seconds / unit.seconds;
  return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, unit.name);
}

std::string plan_plot(const std::string& title, const std::vector<PlanPoint>& all) {
  std::vector<PlanPoint> points;
  for (const auto& point : all)
    if (std::isfinite(point.seconds)) points.push_back(point);
  constexpr double right = plot_left + 2 * plot_width + plot_gap, bottom = plot_top + plot_height;
  std::string svg =
      fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\">\n", right + 24, bottom + 56);
  svg += fmt::format("<style>{}</style>\n", plot_style);
  svg += fmt::format("<title>{}</title>\n", core::escape(title)) + label(plot_left, 22, "start", title, " class=\"title\"");
  if (points.empty()) return svg + label(plot_left, plot_top, "start", "no number of ranks ends: failures come faster than restarts") + "</svg>\n";

  double low = points.front().seconds, high = low;
  for (const auto& point : points) {
    low = std::min({low, point.seconds, point.parts.front().seconds});
    high = std::max(high, point.seconds);
  }
  const auto& unit = unit_for(high);
  const auto ticks = logarithmic_ticks(std::max(low, 1e-6 * high) / unit.seconds, high / unit.seconds);
  const double first = static_cast<double>(points.front().ranks), last = static_cast<double>(points.back().ranks);
  const core::PlotAxis x{first, last > first ? last : 2 * first, plot_left, plot_left + plot_width, true};
  const core::PlotAxis time{ticks.front(), ticks.back(), bottom, plot_top, true};
  svg += label(plot_left, plot_top - 14, "start", fmt::format("time, {}; dashed: computing alone, divided by the ranks", unit.name), " class=\"name\"");
  svg += horizontal_rules(x, time, ticks) + ranks_axis(x, bottom, points);
  svg += curve("ideal", x, time, points, [&](const PlanPoint& point) { return std::max(point.parts.front().seconds / unit.seconds, ticks.front()); });
  svg += curve("line", x, time, points, [&](const PlanPoint& point) { return point.seconds / unit.seconds; });

  const core::PlotAxis x2{x.low, x.high, x.to + plot_gap, right, true};
  const core::PlotAxis share{0, 100, bottom, plot_top};
  svg += label(x2.from, plot_top - 14, "start", "efficiency, %: computing's share of the time that is paid", " class=\"name\"");
  svg += horizontal_rules(x2, share, {0, 20, 40, 60, 80, 100}) + ranks_axis(x2, bottom, points);
  svg += curve("line", x2, share, points, [](const PlanPoint& point) { return 100 * point.efficiency; });
  return svg + "</svg>\n";
}

}  // namespace syncdr::plan
