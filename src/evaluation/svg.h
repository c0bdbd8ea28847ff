#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

/// Small plots as inline SVG. Colours come from the page's style sheet, so they follow light and dark.
namespace syncdr::evaluation {

struct Series {
  std::string title;
  std::vector<std::pair<double, double>> points;  ///< (x, y), x ascending; y finite
};

struct LinePlot {
  std::string title, x_label;
  std::vector<Series> series;  ///< at least one point in all
  bool percent = false;        ///< y is a share, shown in %
};

/// A figure: title, axes with ticks, one line a series, a legend if there are several. Long series are thinned to means of equal stretches.
std::string line_plot(const LinePlot& plot);

/// Points of one kind.
struct Cloud {
  std::string title;
  size_t colour = 0;     ///< of the palette, counted round
  bool crosses = false;  ///< small crosses; else dots
  std::vector<std::pair<double, double>> points;
};

struct ScatterPlot {
  std::string title;
  std::vector<Cloud> clouds;  ///< at least one point in all
};

/// A figure: title, points without axes, both directions on one scale, a legend.
std::string scatter_plot(const ScatterPlot& plot);

struct Whisker {
  std::string title;
  double value = 0, low = 0, high = 0;  ///< shares
  bool emphasised = false;              ///< drawn in the accent colour
  bool hollow = false;
};

/// One dot with its interval a row, on a common axis of Prec@k in % that begins at 0.
std::string whisker_plot(const std::string& description, int64_t k, const std::vector<Whisker>& rows);

/// 4 to 7 round numbers that span [low, high], ascending.
std::vector<double> round_ticks(double low, double high);

}  // namespace syncdr::evaluation
