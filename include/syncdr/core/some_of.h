#pragma once
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <string>

namespace syncdr::core {

/// Names for a message, not more of them than are read: "a, b, c and 5 more".
template <class Names> std::string some_of(const Names& names, size_t most = 3) {
  const auto shown = std::min(most, names.size());
  const auto first = std::begin(names), last = std::next(first, static_cast<std::ptrdiff_t>(shown));
  return fmt::format("{}{}", fmt::join(first, last, ", "), names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "");
}

}  // namespace syncdr::core
