#include "page.h"

#include <cmath>
#include <numbers>

#include "arms.h"
#include "html.h"
#include "syncdr/core/error.h"
#include "syncdr/data/augment.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t native_side = 96;  // pictures up to this many pixels are embedded untouched
constexpr int64_t pairs_shown = 30, queries_shown = 8, nearest_shown = 8;

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

std::string sheet(const data::Dataset& dataset, const std::string& source, const std::string& target, const std::string& run) {
  const auto translations = dataset.synthetic(source, target, run);
  const auto rows = showable(translations);
  if (rows.empty()) return "";
  const auto sources = dataset.real(source, translations.shard(0).header().split);
  std::string html = fmt::format("<figure>\n<figcaption>{} → {}</figcaption>\n<ul class=\"pairs\">\n", escape(source), escape(target));
  for (const int64_t index : spread_rows(static_cast<int64_t>(rows.size()), pairs_shown))
    html += pair_item(translations, sources, rows[static_cast<size_t>(index)]);
  return html + "</ul>\n</figure>\n";
}

/// One direction's images, and which it is.
struct Rows {
  const data::ShardList &queries, &gallery;
  size_t direction;
};

std::string neighbour(const Rows& rows, int64_t query, int64_t found, int64_t rank) {
  const bool right = rows.gallery.label(found) == rows.queries.label(query);
  const auto alternative = fmt::format("{}, {}: {}", rank, right ? "right" : "wrong", rows.gallery.key(found));
  return fmt::format("<li class=\"{}\">{}<b aria-hidden=\"true\">{}</b></li>", right ? "right" : "wrong", image_tag(rows.gallery.image(found), alternative),
                     right ? "✓" : "✗");
}

std::string strip(const Rows& rows, const ArmResult& arm, int64_t query) {
  const auto& nearest = arm.evaluation.directions.at(rows.direction).nearest;
  const auto found = nearest.accessor<int64_t, 2>();
  std::string html = fmt::format("<p class=\"by\">{}</p><ol class=\"nearest\">", escape(arm.title));
  for (int64_t i = 0; i < std::min(nearest_shown, found.size(1)); ++i) html += neighbour(rows, query, found[query][i], i + 1);
  return html + "</ol>";
}

std::string direction_html(const Rows& rows, const std::vector<const ArmResult*>& arms, const std::string& title) {
  std::string html = fmt::format("<h3>{}</h3>\n", escape(title));
  for (const int64_t query : spread_rows(rows.queries.rows(), queries_shown)) {
    html += fmt::format("<div class=\"query\"><figure>{}<figcaption>query</figcaption></figure><div>",
                        image_tag(rows.queries.image(query), "query: " + rows.queries.key(query)));
    for (const auto* arm : arms) html += strip(rows, *arm, query);
    html += "</div></div>\n";
  }
  return html;
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
  return fmt::format("<img src=\"data:image/{};base64,{}\" width=\"{}\" height=\"{}\" alt=\"{}\">", native ? "png" : "jpeg", base64(bytes), shown.width,
                     shown.height, escape(alternative));
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
    if (arm.sets.empty()) continue;
    sheets += fmt::format("<details{}>\n<summary>{}</summary>\n", &arm == main_of(input) ? " open" : "", escape(arm.title));
    for (const auto& set : arm.sets)
      for (const auto& direction : directions_of(input)) sheets += sheet(dataset, direction.query_domain, direction.gallery_domain, set);
    sheets += "</details>\n";
  }
  if (sheets.empty()) return "";
  return "<section>\n<h2>Pairs</h2>\n<p>What training saw: a real image (left) and its synthetic counterpart in the other domain (right). "
         "The images are evenly spread over the training list, the same for every method; nothing is picked by hand.</p>\n" +
         sheets + "</section>\n";
}

std::string retrieval_section(const data::Dataset& dataset, const ReportInput& input) {
  std::vector<const ArmResult*> arms;
  for (const auto* arm : {main_of(input), baseline_of(input)})
    if (arm && (arms.empty() || arms.front() != arm)) arms.push_back(arm);
  if (arms.empty()) return "";
  std::map<std::string, data::ShardList> images;
  for (const auto& domain : input.domains) images.emplace(domain, dataset.real(domain, input.split));
  std::string html = fmt::format(
      "<section>\n<h2>Retrieval</h2>\n<p>Queries from the {} images and their {} nearest images of {} domain, best first. <span "
      "class=\"key right\">✓</span> same "
      "category, <span class=\"key wrong\">✗</span> another. The queries are evenly spread over the list; nothing is picked by hand.</p>\n",
      escape(input.split), nearest_shown, input.domains.size() == 2 ? "the other" : "another");
  const auto& directions = directions_of(input);
  for (size_t i = 0; i < directions.size(); ++i)
    html += direction_html({images.at(directions[i].query_domain), images.at(directions[i].gallery_domain), i}, arms, name_of(directions[i], " → "));
  return html + "</section>\n";
}

}  // namespace syncdr::evaluation
