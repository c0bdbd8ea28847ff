#pragma once
#include <cstdint>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace syncdr::test {

inline int64_t count(const std::string& text, const std::string& part) {
  int64_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

/// The first closing tag that does not fit, or what is left open; empty if all fit. A page whose keys were not escaped does not pass.
inline std::string unbalanced(const std::string& html) {
  static const std::set<std::string> empty{"meta", "img", "line", "path", "circle", "br"};
  static const std::regex tag("<(/?)([a-z0-9]+)((?:\"[^\"]*\"|[^>\"])*)>");
  std::vector<std::string> open;
  for (auto it = std::sregex_iterator(html.begin(), html.end(), tag); it != std::sregex_iterator(); ++it) {
    const auto name = (*it)[2].str();
    if ((*it)[1].length() == 0) {
      if (!empty.contains(name)) open.push_back(name);
      continue;
    }
    if (open.empty() || open.back() != name) return "</" + name + ">";
    open.pop_back();
  }
  return open.empty() ? "" : open.back();
}

// Embedded images are the bulk of a page and need no checking by a regular expression.
inline std::string without_images(const std::string& html) {
  std::string result;
  size_t from = 0;
  while (true) {
    const size_t start = html.find("src=\"data:", from);
    result += html.substr(from, start - from);
    if (start == std::string::npos) return result;
    from = html.find('"', start + 5) + 1;
  }
}

}  // namespace syncdr::test
