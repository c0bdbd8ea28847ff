#include <array>

#include "arms.h"
#include "html.h"
#include "page_images.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t queries_shown = 8;
constexpr int64_t nearest_shown = 8;

/// One direction's images, and which of its figures an arm is asked for.
struct Rows {
  const data::ShardList &queries, &gallery;
  DirectionScores Evaluation::*direction;
};

std::string neighbour(const Rows& rows, int64_t query, int64_t found, int64_t rank) {
  const bool right = rows.gallery.label(found) == rows.queries.label(query);
  const auto alternative = fmt::format("{}, {}: {}", rank, right ? "right" : "wrong", rows.gallery.key(found));
  return fmt::format("<li class=\"{}\">{}<b aria-hidden=\"true\">{}</b></li>", right ? "right" : "wrong",
                     image_tag(rows.gallery.image(found), alternative), right ? "✓" : "✗");
}

std::string strip(const Rows& rows, const ArmResult& arm, int64_t query) {
  const auto& nearest = (arm.evaluation.*rows.direction).nearest;
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

std::string retrieval_section(const data::Dataset& dataset, const ReportInput& input) {
  std::vector<const ArmResult*> arms;
  for (const auto* arm : {main_of(input), baseline_of(input)})
    if (arm && (arms.empty() || arms.front() != arm)) arms.push_back(arm);
  if (arms.empty()) return "";
  const auto a = dataset.real(input.domain_a, input.split), b = dataset.real(input.domain_b, input.split);
  std::string html = fmt::format(
      "<section>\n<h2>Retrieval</h2>\n<p>Queries from the {} images and their {} nearest images of the other domain, best first. <span "
      "class=\"key right\">✓</span> same "
      "category, <span class=\"key wrong\">✗</span> another. The queries are evenly spread over the list; nothing is picked by hand.</p>\n",
      escape(input.split), nearest_shown);
  html += direction_html({a, b, &Evaluation::a_to_b}, arms, input.domain_a + " → " + input.domain_b);
  html += direction_html({b, a, &Evaluation::b_to_a}, arms, input.domain_b + " → " + input.domain_a);
  return html + "</section>\n";
}

}  // namespace syncdr::evaluation
