#include "syncdr/core/svg.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

namespace syncdr::core {

std::string escape(std::string_view text) {
  static const std::map<char, std::string> entities{{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
  std::string result;
  for (const char c : text) {
    const auto entity = entities.find(c);
    if (entity != entities.end()) {
      result += entity->second;
    } else if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') {
      result += c;
    }
  }
  return result;
}

double PlotAxis::operator()(double value) const {
  const auto place = [&](double v) { return logarithmic ? std::log(v) : v; };
  return from + (place(value) - place(low)) / (place(high) - place(low)) * (to - from);
}

std::string path_through(const std::vector<std::pair<double, double>>& pixels) {
  std::string path;
  for (const auto& [x, y] : pixels) path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x, y);
  return path;
}

}  // namespace syncdr::core
