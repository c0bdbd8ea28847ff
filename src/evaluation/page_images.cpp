#include "page_images.h"

#include <cmath>
#include <numbers>

#include "arms.h"
#include "html.h"
#include "syncdr/core/error.h"
#include "syncdr/data/augment.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t native_side = 96;  // pictures up to this many pixels are embedded untouched
constexpr int64_t pairs_shown = 30;

/// One direction of a translation, for its sheet.
struct Sheet {
  const data::Dataset& dataset;
  const std::string &source, &target;
};

// Rows that were translated well, each source once: the first variant, not quarantined.
std::vector<int64_t> showable(const data::ShardList& translations) {
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < translations.rows(); ++row) {
    const auto [shard, local] = translations.locate(row);
    const auto& source = translations.shard(shard).source(local);
    if (source.status != 2 && source.variant == 0) rows.push_back(row);
  }
  return rows;
}

std::string pair_item(const data::ShardList& translations, const data::ShardList& sources, int64_t row) {
  const auto [shard, local] = translations.locate(row);
  const auto& from = translations.shard(shard).source(local);
  const auto image = sources.shard(from.shard).image(from.row);
  return fmt::format("<li>{}{}</li>\n", image_tag(image, "source: " + from.key), image_tag(translations.image(row), "its translation"));
}

std::string sheet(const Sheet& direction, const ArmResult& arm) {
  const auto translations = direction.dataset.synthetic(direction.source, direction.target, arm.run);
  const auto rows = showable(translations);
  if (rows.empty()) return "";
  const auto sources = direction.dataset.real(direction.source, translations.shard(0).header().split);
  std::string html =
      fmt::format("<figure>\n<figcaption>{} → {}</figcaption>\n<ul class=\"pairs\">\n", escape(direction.source), escape(direction.target));
  for (const int64_t index : spread_rows(static_cast<int64_t>(rows.size()), pairs_shown))
    html += pair_item(translations, sources, rows[static_cast<size_t>(index)]);
  return html + "</ul>\n</figure>\n";
}

}  // namespace

std::string image_tag(const data::Image& image, const std::string& alternative) {
  const bool native = image.height <= native_side && image.width <= native_side;
  data::Image shown = image;
  if (!native) {
    shown = {native_side, native_side, std::vector<uint8_t>(static_cast<size_t>(native_side * native_side * 3))};
    data::AugmentConfig square;
    square.resize = square.crop = native_side;
    data::evaluation_view(image, square, shown.pixels.data());
  }
  const auto bytes = data::encode(shown, native ? data::Codec::png : data::Codec::jpeg);
  return fmt::format("<img src=\"data:image/{};base64,{}\" width=\"{}\" height=\"{}\" alt=\"{}\">", native ? "png" : "jpeg", base64(bytes),
                     shown.width, shown.height, escape(alternative));
}

std::vector<int64_t> spread_rows(int64_t size, int64_t count) {
  count = std::min(size, count);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = i * size / count, last = (i + 1) * size / count;
    // Equal steps would meet the same categories again in a list that repeats them; multiples of the golden ratio never fall in step with
    // it.
    const double golden = static_cast<double>(i) * std::numbers::phi;
    rows.push_back(first + static_cast<int64_t>((golden - std::floor(golden)) * static_cast<double>(last - first)));
  }
  return rows;
}

std::string pairs_section(const data::Dataset& dataset, const ReportInput& input) {
  std::string sheets;
  for (const auto& arm : input.arms) {
    if (arm.run.empty()) continue;
    sheets += fmt::format("<details{}>\n<summary>{}</summary>\n", &arm == main_of(input) ? " open" : "", escape(arm.title));
    sheets +=
        sheet({dataset, input.domain_a, input.domain_b}, arm) + sheet({dataset, input.domain_b, input.domain_a}, arm) + "</details>\n";
  }
  if (sheets.empty()) return "";
  return "<section>\n<h2>Pairs</h2>\n<p>What training saw: a real image (left) and its synthetic counterpart in the other domain (right). "
         "The images are evenly spread over the training list, the same for every method; nothing is picked by hand.</p>\n" +
         sheets + "</section>\n";
}

}  // namespace syncdr::evaluation
