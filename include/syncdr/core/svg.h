#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What diagrams (SVG) and pages (HTML) are written with.
namespace syncdr::core {

/// Text as it may stand between tags and in quoted attributes: & < > " ' replaced, control characters left out.
std::string escape(std::string_view text);

/// RFC 4648, with padding.
std::string base64(std::span<const uint8_t> bytes);

/// A map from values to pixels.
struct PlotAxis {
  double low, high, from, to;
  bool logarithmic = false;
  double operator()(double value) const;
};

/// The attribute `d` of a path through points, in pixels.
std::string path_through(const std::vector<std::pair<double, double>>& pixels);

}  // namespace syncdr::core
