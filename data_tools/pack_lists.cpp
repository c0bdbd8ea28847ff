#include <algorithm>

#include "pack_sources.h"
#include "syncdr/core/error.h"

/// Datasets that published lists describe.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view blank = " \t";

Source parse_line(std::string_view line, const Part& list, const fs::path& root, const std::string& strip, const std::string& where) {
  const size_t space = line.find_last_of(blank);  // paths may hold spaces themselves
  const std::string_view last = space == std::string_view::npos ? "" : line.substr(space + 1);
  const std::optional<int32_t> label = parse_label(last, where);
  Source image = find_image(std::string(label ? line.substr(0, line.find_last_not_of(blank, space) + 1) : line), list.domain, root, strip, where);
  std::error_code error;
  const bool there = fs::is_regular_file(image.file, error);
  if (!label && !last.empty() && !there)
    throw core::DataError("{}: \"{}\" is no label; a line is \"path label\", the label a whole number from 0, or none in a list for training", where, last);
  if (!there) throw core::DataError("{}: {} is missing. Is --root right?{}", where, image.file.string(), strip.empty() ? "" : " Is --strip?");
  image.split = list.split;
  image.label = label.value_or(-1);
  if (image.label < 0 && list.split != "train")
    throw core::DataError("{}: has no label; a line is \"path label\", the label a whole number from 0. Only images that train may do without", where);
  return image;
}

}  // namespace

Sources read_lists(const ListOptions& options) {
  Sources sources;
  std::vector<std::string> where;
  for (const std::string& argument : options.lists) {
    const Part list = parse_part("--list", argument);
    const fs::path root = !options.root.empty() ? options.root : list.file.has_parent_path() ? list.file.parent_path() : fs::path(".");
    const std::string text = read_text(list.file);
    int64_t number = 0;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      std::string_view line(text.data() + begin, end - begin);
      begin = end + 1;
      ++number;
      line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
      if (line.empty()) continue;
      where.push_back(fmt::format("{}:{}", list.file.string(), number));
      sources.images.push_back(parse_line(line, list, root, options.strip, where.back()));
    }
  }
  check_keys(sources.images, where);
  finish(sources, {});
  return sources;
}

}  // namespace syncdr::data_tools
