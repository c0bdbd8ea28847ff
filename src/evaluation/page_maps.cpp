#include "arms.h"
#include "html.h"
#include "page.h"
#include "svg.h"

namespace syncdr::evaluation {

std::string maps_section(const ReportInput& input) {
  std::string charts;
  for (const auto& map : input.maps) {
    ScatterPlot plot{map.title, {}};
    for (const auto& group : map.groups) {
      const auto place = std::find(input.domains.begin(), input.domains.end(), group.domain) - input.domains.begin();
      plot.clouds.push_back({fmt::format("{}, {}", group.domain, group.synthetic ? "translations into it" : "real images"), static_cast<size_t>(place),
                             group.synthetic, group.points});
    }
    if (!plot.clouds.empty()) charts += scatter_plot(plot);
  }
  if (charts.empty()) return "";
  std::string divergences;
  for (const auto& map : input.maps) divergences += fmt::format("{}{} {:.2f}", divergences.empty() ? "" : ", ", escape(map.title), map.divergence);
  return "<section>\n<h2 id=\"maps\">Features, before and after training</h2>\n<p>Training images of all domains (dots), and translations into them "
         "(crosses), placed by t-SNE: neighbours in the encoder's features are neighbours here. Where colours mix, the encoder sees what pictures show and not "
         "how they are made; "
         "where crosses lie among dots of their colour, translations look to it like real images. Axes, sizes of clouds and distances between them mean "
         "nothing.</p>\n<div class=\"charts\">\n" +
         charts + "</div>\n<p class=\"note\">How much of the neighbourhoods the plane loses (Kullback-Leibler divergence, 0 is nothing): " + divergences +
         ".</p>\n</section>\n";
}

}  // namespace syncdr::evaluation
