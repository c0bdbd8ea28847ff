#include "pack_sources.h"
#include "syncdr/core/error.h"
#include "text_input.h"

/// Datasets that published lists describe.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view blank = " \t";

void add_line(ImageTable& images, std::string_view line, int64_t number, const Part& list, const Paths& paths, const std::string& strip) {
  const std::string where = fmt::format("{}:{}", list.file.string(), number);
  const size_t space = line.find_last_of(blank);  // paths may hold spaces themselves
  const std::string_view last = space == std::string_view::npos ? "" : line.substr(space + 1);
  const std::optional<int32_t> label = parse_label(last, where);
  const std::string path(label ? line.substr(0, line.find_last_not_of(blank, space) + 1) : line);
  const Found image = paths.image(images, path, list.domain, "", where);
  std::error_code error;
  const bool there = fs::is_regular_file(image.file, error);
  if (!label && !last.empty() && !there)
    throw core::DataError("{}: \"{}\" is no label; a line is \"path label\", the label a whole number from 0, or none in a list for training", where, last);
  if (!there) throw core::DataError("{}: {} is missing. Is --root right?{}", where, image.file.string(), strip.empty() ? "" : " Is --strip?");
  if (label.value_or(-1) < 0 && list.split != "train")
    throw core::DataError("{}: has no label; a line is \"path label\", the label a whole number from 0. Only images that train may do without", where);
  images.add(image.origin, {.name = image.name, .split = list.split, .label = label.value_or(-1), .line = static_cast<uint32_t>(number)});
}

}  // namespace

Sources read_lists(const ListOptions& options) {
  Sources sources;
  for (const std::string& argument : options.lists) {
    const Part list = parse_part("--list", argument);
    const Paths paths(options, list.file);
    const size_t before = sources.images.size();
    int64_t number = 0;
    each_line(list.file, [&](std::string_view line) {
      ++number;
      line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
      if (!line.empty()) add_line(sources.images, line, number, list, paths, options.strip);
    });
    if (sources.images.size() == before) throw core::DataError("{}: lists no images", list.file.string());
  }
  check_keys(sources.images);
  finish(sources);
  return sources;
}

}  // namespace syncdr::data_tools
