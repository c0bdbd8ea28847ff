#include "key_lines.h"

#include <algorithm>

#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/foreign.h"
#include "syncdr/io/utf8.h"

namespace syncdr::translate {
namespace {

constexpr size_t max_bytes = size_t{4} << 30;

/// One line. Empty ones pass.
void take_line(KeyLines& lines, std::string_view line, const char* value, const std::string& where) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) return;
  const auto tab = line.find('\t');
  if (tab == std::string_view::npos || tab == 0 || tab + 1 == line.size()) throw core::DataError("{}: is not KEY<tab>{}", where, value);
  if (line.find('\0') != std::string_view::npos || !io::is_utf8(line))  // no shard could hold it
    throw core::DataError("{}: holds a zero byte, or is no UTF-8. Save the file as UTF-8", where);
  if (line.find('\t', tab + 1) != std::string_view::npos) throw core::DataError("{}: has more than one tab. A line is KEY<tab>{}", where, value);
  if (!lines.emplace(line.substr(0, tab), line.substr(tab + 1)).second)
    throw core::DataError("{}: the key \"{}\" was there before", where, line.substr(0, tab));
}

}  // namespace

KeyLines read_key_lines(const std::string& file, const char* value) {
  const std::string content = io::read_file(file, max_bytes);
  io::refuse_foreign(content, content.size(), file);
  KeyLines lines;
  int64_t number = 1;
  for (size_t begin = 0; begin < content.size(); ++number) {
    const auto end = std::min(content.find('\n', begin), content.size());
    take_line(lines, std::string_view(content).substr(begin, end - begin), value, fmt::format("{}: line {}", file, number));
    begin = end + 1;
  }
  return lines;
}

const std::string& line_for(const KeyLines& lines, const std::string& key, const std::string& file) {
  const auto found = lines.find(key);
  if (found == lines.end()) throw core::DataError("{}: has no line for \"{}\"", file, key);
  return found->second;
}

}  // namespace syncdr::translate
