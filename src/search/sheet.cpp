#include <fmt/format.h>

#include <algorithm>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "page.h"
#include "syncdr/core/svg.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/search/answer.h"

/// The contact sheet.
namespace syncdr::search {
namespace {

/// At most sheet_side pixels long and wide.
data::Image thumbnail(const data::Image& image) {
  const int64_t longer = std::max(image.height, image.width);
  if (longer <= sheet_side) return image;
  const cv::Mat whole(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3, const_cast<uint8_t*>(image.pixels.data()));
  const auto scaled = [&](int64_t length) { return static_cast<int>(std::max<int64_t>(1, length * sheet_side / longer)); };
  cv::Mat small;
  cv::resize(whole, small, {scaled(image.width), scaled(image.height)}, 0, 0, cv::INTER_AREA);
  return {small.rows, small.cols, {small.datastart, small.dataend}, {}};
}

std::string picture_tag(const data::Image& image, const std::string& alternative, const char* kind) {
  const auto bytes = data::encode(thumbnail(image), data::Codec::jpeg);
  return fmt::format("<img{} src=\"data:image/jpeg;base64,{}\" alt=\"{}\">", kind, core::base64(bytes), core::escape(alternative));
}

}  // namespace

void write_sheet(const std::filesystem::path& file, const Gallery& gallery, GalleryPictures& pictures, const std::vector<Answer>& answers) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>syncdr: what was found</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{}</style>\n</head>\n<body>\n<header>\n<h1>What was found</h1>\n"
      "<p class=\"subtitle\">in {} images, by {}</p>\n</header>\n<main>\n",
      page_style, gallery.rows(), core::escape(gallery.index().model));
  for (const Answer& answer : answers) {
    html += fmt::format("<section>\n<h2>{}</h2>\n", core::escape(answer.query));
    if (answer.picture) html += picture_tag(*answer.picture, "the query", " class=\"query\"") + "\n";
    html += "<ol class=\"found\">\n";
    for (const Match& match : answer.matches) {
      const std::string category = gallery.category_name(match);
      html += fmt::format("<li>{}<p><b>{}</b><span>{:.3f}</span></p><small>{}</small></li>\n", picture_tag(pictures.image(match, sheet_side), match.name, ""),
                          core::escape(category.empty() ? match.domain : category), match.score, core::escape(match.name));
    }
    html += "</ol>\n</section>\n";
  }
  io::write_file(file, html + "</main>\n</body>\n</html>\n");
}

}  // namespace syncdr::search
