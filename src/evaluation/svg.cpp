#include "svg.h"

#include <fmt/format.h>
#include <cmath>
#include <limits>

#include "html.h"
#include "syncdr/core/svg.h"

namespace syncdr::evaluation {
namespace {

constexpr size_t shown_points = 160;  // more cannot be told apart at this width
constexpr int palette = 6;            // colours and dashes that the style sheet knows

std::string tick_text(double value) {
  if (std::abs(value) < 1e-12) return "0";
  return std::abs(value) >= 10000 ? fmt::format("{:g}k", value / 1000) : fmt::format("{:.4g}", value);
}

// Means of equal numbers of neighbours: a noisy loss becomes a line that can be read, its level unchanged.
std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points) {
  const size_t stretch = (points.size() + shown_points - 1) / shown_points;
  if (stretch <= 1) return points;
  std::vector<std::pair<double, double>> result;
  for (size_t first = 0; first < points.size(); first += stretch) {
    const size_t count = std::min(stretch, points.size() - first);
    std::pair<double, double> sum{0, 0};
    for (size_t i = first; i < first + count; ++i) sum = {sum.first + points[i].first, sum.second + points[i].second};
    result.emplace_back(sum.first / static_cast<double>(count), sum.second / static_cast<double>(count));
  }
  return result;
}

struct Bounds {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

std::string horizontal_grid(const std::vector<double>& ticks, const core::PlotAxis& y, double left, double right, double factor) {
  std::string svg;
  for (const double tick : ticks)
    svg += fmt::format(R"(<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/><text x="{:.1f}" y="{:.1f}" text-anchor="end">{}</text>)", left,
                       right, y(tick), y(tick), left - 6, y(tick) + 4, tick_text(tick * factor));
  return svg;
}

std::string x_axis(const std::vector<double>& ticks, const core::PlotAxis& x, double bottom, double factor) {
  std::string svg = fmt::format(R"(<line class="axis" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>)", x.from, x.to, bottom, bottom);
  for (const double tick : ticks)
    svg += fmt::format(R"(<line class="axis" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/><text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)",
                       x(tick), x(tick), bottom, bottom + 4, x(tick), bottom + 18, tick_text(tick * factor));
  return svg;
}

std::string path_of(const Series& series, size_t index, const core::PlotAxis& x, const core::PlotAxis& y) {
  auto points = thinned(series.points);
  if (points.empty()) return "";
  for (auto& [px, py] : points) px = x(px), py = y(py);
  std::string svg = fmt::format(R"(<path class="line s{}" d="{}"/>)", index % palette, core::path_through(points));
  if (points.size() > 24) return svg;
  for (const auto& [px, py] : points) svg += fmt::format(R"(<circle class="mark s{}" cx="{:.1f}" cy="{:.1f}" r="2.6"/>)", index % palette, px, py);
  return svg;
}

// A dot or a small cross at a pixel, as a part of a path.
std::string mark_at(double x, double y, bool cross) {
  return cross ? fmt::format("M{:.1f} {:.1f}l5 5m0-5l-5 5", x - 2.5, y - 2.5) : fmt::format("M{:.1f} {:.1f}h0", x, y);
}

std::string cloud_path(const Cloud& cloud, const std::string& marks) {
  return fmt::format(R"(<path class="{} s{}" d="{}"/>)", cloud.crosses ? "crosses" : "dots", cloud.colour % palette, marks);
}

std::string legend(const std::vector<Series>& series) {
  if (series.size() < 2) return "";
  std::string html = "<ul class=\"legend\">";
  for (size_t i = 0; i < series.size(); ++i)
    html += fmt::format(R"(<li><svg width="26" height="10" aria-hidden="true"><path class="line s{}" d="M1 5H25"/></svg>{}</li>)", i % palette,
                        escape(series[i].title));
  return html + "</ul>";
}

// The ticks within [low, high].
std::vector<double> inside(std::vector<double> ticks, double low, double high) {
  std::erase_if(ticks, [&](double tick) { return tick < low - 1e-9 || tick > high + 1e-9; });
  return ticks;
}

}  // namespace

std::vector<double> round_ticks(double low, double high) {
  if (!(high > low)) {
    const double room = low == 0 ? 1 : std::abs(low) / 2;
    low -= room;
    high += room;
  }
  const double rough = (high - low) / 5, power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 2.5, 5.0})
    if (rough <= factor * power * 1.0001) {
      step = factor * power;
      break;
    }
  std::vector<double> ticks;
  for (double n = std::floor(low / step + 1e-9); n <= std::ceil(high / step - 1e-9); ++n) ticks.push_back(n * step);
  return ticks;
}

std::string line_plot(const LinePlot& plot) {
  constexpr double width = 460, height = 270, left = 46, right = 448, top = 10, bottom = 222;
  Bounds xs, ys;
  for (const auto& series : plot.series)
    for (const auto& [px, py] : thinned(series.points)) {
      xs.add(px);
      ys.add(py);
    }
  if (plot.percent) ys.add(0);
  if (!(xs.high > xs.low)) xs.high = xs.low + 1;
  const double factor = plot.percent ? 100 : 1;
  const auto ticks = round_ticks(ys.low, ys.high);
  const core::PlotAxis x{xs.low, xs.high, left, right}, y{ticks.front(), ticks.back(), bottom, top};
  std::string svg =
      fmt::format(R"(<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">)", width, height, escape(plot.title + " over " + plot.x_label));
  svg += horizontal_grid(ticks, y, left, right, factor) + x_axis(inside(round_ticks(xs.low, xs.high), xs.low, xs.high), x, bottom, 1);
  for (size_t i = 0; i < plot.series.size(); ++i) svg += path_of(plot.series[i], i, x, y);
  svg += fmt::format(R"(<text x="{}" y="{}" text-anchor="middle">{}</text></svg>)", (left + right) / 2, height - 8, escape(plot.x_label));
  return fmt::format("<figure class=\"chart\"><figcaption>{}</figcaption>{}{}</figure>\n", escape(plot.title), svg, legend(plot.series));
}

std::string scatter_plot(const ScatterPlot& plot) {
  constexpr double width = 460, height = 400, margin = 10;
  Bounds xs, ys;
  for (const auto& cloud : plot.clouds)
    for (const auto& [px, py] : cloud.points) {
      xs.add(px);
      ys.add(py);
    }
  const double span = std::max({xs.high - xs.low, (ys.high - ys.low) * width / height, 1e-9});
  const double scale = (width - 2 * margin) / span, x = (xs.low + xs.high) / 2, y = (ys.low + ys.high) / 2;
  std::string svg = fmt::format(R"(<svg class="plot map" viewBox="0 0 {} {}" role="img" aria-label="{}">)", width, height, escape(plot.title)), keys;
  for (const auto& cloud : plot.clouds) {
    std::string marks;
    for (const auto& [px, py] : cloud.points) marks += mark_at(width / 2 + (px - x) * scale, height / 2 - (py - y) * scale, cloud.crosses);
    svg += cloud_path(cloud, marks);
    keys += fmt::format(R"(<li><svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">{}</svg>{}</li>)",
                        cloud_path(cloud, mark_at(7, 7, cloud.crosses)), escape(cloud.title));
  }
  return fmt::format("<figure class=\"chart\"><figcaption>{}</figcaption>{}</svg><ul class=\"legend\">{}</ul></figure>\n", escape(plot.title), svg, keys);
}

std::string whisker_plot(const std::string& description, int64_t k, const std::vector<Whisker>& rows) {
  constexpr double width = 460, left = 12, right = 440, top = 6, row_height = 42;
  const double bottom = top + row_height * static_cast<double>(rows.size()) + 4, height = bottom + 44;
  double high = 0;
  for (const auto& row : rows) high = std::max(high, row.high);
  const auto ticks = round_ticks(0, high > 0 ? high : 0.01);
  const core::PlotAxis x{0, ticks.back(), left, right};
  std::string svg = fmt::format(R"(<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">)", width, height, escape(description));
  for (const double tick : ticks) svg += fmt::format(R"(<line class="grid" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>)", x(tick), x(tick), top, bottom);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& row = rows[i];
    const double text = top + row_height * static_cast<double>(i) + 15, line = text + 13;
    svg += fmt::format(R"(<g class="whisker{}{}"><text class="name" x="{:.1f}" y="{:.1f}">{} <tspan class="value">{:.1f} %</tspan></text>)",
                       row.emphasised ? " strong" : "", row.hollow ? " hollow" : "", left, text, escape(row.title), 100 * row.value);
    svg += fmt::format(R"(<path d="M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}V{4:.1f}M{1:.1f} {3:.1f}V{4:.1f}"/><circle cx="{5:.1f}" cy="{2:.1f}" r="4.5"/></g>)",
                       x(row.low), x(row.high), line, line - 4, line + 4, x(row.value));
  }
  svg += x_axis(ticks, x, bottom, 100);
  return svg + fmt::format(R"(<text x="{}" y="{}" text-anchor="middle">Prec@{}, %</text></svg>)", (left + right) / 2, height - 8, k);
}

}  // namespace syncdr::evaluation
