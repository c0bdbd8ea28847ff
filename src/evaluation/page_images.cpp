#include "page.h"

#include <cmath>
#include <numbers>

#include "arms.h"
#include "html.h"
#include "syncdr/core/error.h"
#include "syncdr/data/augment.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t native_side = 96;       // pictures up to this many pixels are embedded untouched
constexpr size_t untouched_bytes = 8192;  // of a small picture's PNG; a larger one is not worth its place
constexpr int64_t nearest_shown = 8;
// Of a sheet and of a direction, and on the whole page, which must not grow with the number of sets and domains.
constexpr int64_t pairs_shown = 30, all_pairs = 160, queries_shown = 8, all_queries = 16;
constexpr int64_t sheets_shown = 80, directions_shown = 16;

// How many each of `parts` may have.
int64_t portion(int64_t most, int64_t all, int64_t parts) { return std::clamp<int64_t>(all / std::max<int64_t>(parts, 1), 1, most); }

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

/// A direction of a translated set.
struct Sheet {
  data::ShardList translations, sources;
  std::string set, source, target;
};

std::string pair_item(const Sheet& sheet, int64_t row, const std::string& note) {
  const auto [shard, local] = sheet.translations.locate(row);
  const auto from = sheet.translations.shard(shard).source(local);
  const auto image = sheet.sources.shard(from.shard).image(from.row);
  return fmt::format("<li>{}{}{}</li>\n", image_tag(image, "source: " + from.key), image_tag(sheet.translations.image(row), "its translation"), note);
}

std::string list_of(const std::string& head, const std::string& items) {
  return fmt::format("{}<ul class=\"pairs\">\n{}</ul>\n", head.empty() ? "" : "<p class=\"by\">" + head + "</p>", items);
}

std::string judged_list(const Sheet& sheet, const std::string& head, const std::vector<JudgedPair>& pairs) {
  std::string items;
  for (const auto& pair : pairs)
    items += pair_item(sheet, pair.translation, fmt::format("<small>{} / {}</small>", grouped(pair.source_rank), grouped(pair.translation_rank)));
  return list_of(head, items);
}

std::string sheet_html(const Sheet& sheet, const ReportInput& input, int64_t shown) {
  const auto rows = showable(sheet.translations);
  if (rows.empty()) return "";
  std::string html = fmt::format("<figure>\n<figcaption>{} → {}</figcaption>\n", escape(sheet.source), escape(sheet.target)), worst;
  if (const auto ranks = input.pair_ranks.find({sheet.set, sheet.source, sheet.target}); ranks != input.pair_ranks.end()) {
    const int64_t each = std::max<int64_t>(1, shown / 4);
    const auto extremes = extremes_of(ranks->second, sheet.sources, sheet.translations, each);
    html += judged_list(sheet, "kept best", extremes.best);
    worst = judged_list(sheet, "kept worst", extremes.worst);
    shown = std::max<int64_t>(1, shown - 2 * each);
  }
  std::string items;
  for (const int64_t index : spread_rows(std::ssize(rows), shown)) items += pair_item(sheet, rows[static_cast<size_t>(index)], "");
  return html + list_of(worst.empty() ? "" : "evenly spread", items) + worst + "</figure>\n";
}

std::string left_out(int64_t shown, int64_t all, const char* what) { return shown < all ? fmt::format(" The first {} of {} {}.", shown, all, what) : ""; }

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

std::string direction_html(const Rows& rows, const std::vector<const ArmResult*>& arms, const std::string& title, int64_t shown) {
  std::string html = fmt::format("<h3>{}</h3>\n", escape(title));
  for (const int64_t query : spread_rows(rows.queries.rows(), shown)) {
    html += fmt::format("<div class=\"query\"><figure>{}<figcaption>query</figcaption></figure><div>",
                        image_tag(rows.queries.image(query), "query: " + rows.queries.key(query)));
    for (const auto* arm : arms) html += strip(rows, *arm, query);
    html += "</div></div>\n";
  }
  return html;
}

}  // namespace

std::string image_tag(const data::Image& image, const std::string& alternative) {
  const bool small = image.height <= native_side && image.width <= native_side;
  data::Image shown = image;
  auto bytes = small ? data::encode(image, data::Codec::png) : std::vector<uint8_t>();
  const bool native = small && bytes.size() <= untouched_bytes;
  if (!small) {
    shown = {native_side, native_side, std::vector<uint8_t>(static_cast<size_t>(native_side * native_side * 3))};
    data::AugmentConfig square;
    square.resize = square.crop = native_side;
    data::evaluation_view(image, square, shown.pixels.data());
  }
  if (!native) bytes = data::encode(shown, data::Codec::jpeg);
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

std::vector<std::string> sets_of(const ReportInput& input) {
  std::vector<std::string> sets;
  for (const auto& arm : input.arms)
    for (const auto& set : arm.sets)
      if (std::find(sets.begin(), sets.end(), set) == sets.end()) sets.push_back(set);
  return sets;
}

std::string pairs_section(const data::Dataset& dataset, const ReportInput& input) {
  const auto sets = sets_of(input);
  if (sets.empty()) return "";
  const auto& directions = directions_of(input);
  const int64_t sheets = std::ssize(sets) * std::ssize(directions), shown = portion(pairs_shown, all_pairs, sheets);
  const auto* main = main_of(input);
  int64_t made = 0;
  std::string html;
  for (const auto& set : sets) {
    std::string of_set;
    for (const auto& direction : directions) {
      Sheet sheet{dataset.synthetic(direction.query_domain, direction.gallery_domain, set), {}, set, direction.query_domain, direction.gallery_domain};
      if (sheet.translations.rows() == 0 || made >= sheets_shown) continue;
      sheet.sources = dataset.real(sheet.source, sheet.translations.shard(0).header().split);
      of_set += sheet_html(sheet, input, shown);
      ++made;
    }
    const bool open = main && std::find(main->sets.begin(), main->sets.end(), set) != main->sets.end();
    if (!of_set.empty()) html += fmt::format("<details{}>\n<summary>{}</summary>\n{}</details>\n", open ? " open" : "", escape(set), of_set);
  }
  if (html.empty()) return "";
  return fmt::format(
      "<section>\n<h2 id=\"pairs\">Pairs</h2>\n<p>What training saw: a real image (left) and its synthetic counterpart in the other domain (right). Most are "
      "evenly spread over the training list, the same for every set; nothing is picked by hand.{}{}</p>\n{}</section>\n",
      input.pair_ranks.empty() ? ""
                               : " Those kept best and worst are by retention: below each, where the source stands among all sources when its translation "
                                 "looks for it, and where the translation stands when its source does (1 / 1 is best).",
      left_out(sheets_shown, sheets, "sets and directions"), html);
}

std::string retrieval_section(const data::Dataset& dataset, const ReportInput& input) {
  std::vector<const ArmResult*> arms;
  for (const auto* arm : {main_of(input), baseline_of(input)})
    if (arm && (arms.empty() || arms.front() != arm)) arms.push_back(arm);
  if (arms.empty()) return "";
  const auto& directions = directions_of(input);
  const int64_t all = std::ssize(directions);
  std::map<std::string, data::ShardList> images;
  for (const auto& domain : input.domains) images.emplace(domain, dataset.real(domain, input.split));
  std::string html = fmt::format(
      "<section>\n<h2 id=\"retrieval\">Retrieval</h2>\n<p>Queries from the {} images and their {} nearest images of {} domain, best first. <span "
      "class=\"key right\">✓</span> same "
      "category, <span class=\"key wrong\">✗</span> another. The queries are evenly spread over the list; nothing is picked by hand.{}</p>\n",
      escape(input.split), nearest_shown, input.domains.size() == 2 ? "the other" : "another", left_out(directions_shown, all, "directions"));
  for (size_t i = 0; i < std::min<size_t>(directions.size(), directions_shown); ++i)
    html += direction_html({images.at(directions[i].query_domain), images.at(directions[i].gallery_domain), i}, arms, name_of(directions[i], " → "),
                           portion(queries_shown, all_queries, all));
  return html + "</section>\n";
}

}  // namespace syncdr::evaluation
