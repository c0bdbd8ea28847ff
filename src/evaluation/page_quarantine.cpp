#include <boost/json/array.hpp>

#include "arms.h"
#include "html.h"
#include "page.h"
#include "syncdr/core/error.h"
#include "syncdr/io/json.h"

namespace syncdr::evaluation {
namespace {

constexpr size_t rows_listed = 100;

struct LeftOut {
  std::string where, key, reason;
};

// What packing has left out: quarantine.json beside dataset.json.
void add_packed(const data::Dataset& dataset, std::vector<LeftOut>& all) {
  const auto file = dataset.root() / "quarantine.json";
  if (!std::filesystem::exists(file)) return;
  const auto list = io::read_json(file);
  if (!list.is_array()) return;
  for (const auto& item : list.get_array()) {
    const auto& entry = io::as_object(item, file.string());
    all.push_back({"packing, " + io::json_string(entry, "split", file.string()), io::json_string(entry, "key", file.string()),
                   io::json_string(entry, "reason", file.string())});
  }
}

// Why a translation is not used: its source is broken, or what the model made of it was.
std::string reason_of(const data::ShardList& sources, const data::SourceRow& from) {
  try {
    sources.shard(from.shard).image(from.row);
  } catch (const core::DataError& error) {
    return error.what();
  }
  return "the translation was blank, or not finite";
}

void add_translations(const data::Dataset& dataset, const ReportInput& input, std::vector<LeftOut>& all) {
  for (const auto& set : sets_of(input))
    for (const auto& direction : directions_of(input)) {
      const auto made = dataset.synthetic(direction.query_domain, direction.gallery_domain, set);
      if (made.rows() == 0) continue;
      const auto sources = dataset.real(direction.query_domain, made.shard(0).header().split);
      for (int64_t at = 0; at < made.rows(); ++at) {
        const auto [shard, row] = made.locate(at);
        const auto from = made.shard(shard).source(row);
        if (from.status != 2) continue;
        all.push_back({fmt::format("{}, {}, variant {}", set, name_of(direction, " → "), from.variant), from.key,
                       all.size() < rows_listed ? reason_of(sources, from) : ""});
      }
    }
}

}  // namespace

std::string quarantine_section(const data::Dataset& dataset, const ReportInput& input) {
  std::vector<LeftOut> all;
  add_packed(dataset, all);
  add_translations(dataset, input, all);
  if (all.empty()) return "<section>\n<h2 id=\"quarantine\">Left out</h2>\n<p>No image and no translation was quarantined.</p>\n</section>\n";
  std::string html = fmt::format(
      "<section>\n<h2 id=\"quarantine\">Left out</h2>\n<p>{} image{} or translation{} quarantined: never trained on, never measured.{}</p>\n"
      "<details{}>\n<summary>Which, and why</summary>\n{}<table class=\"list\">\n<thead><tr><th scope=\"col\">image</th><th scope=\"col\">where</th><th "
      "scope=\"col\">reason</th></tr></thead>\n<tbody>\n",
      grouped(std::ssize(all)), all.size() == 1 ? "" : "s", all.size() == 1 ? " is" : "s are",
      all.size() > rows_listed ? fmt::format(" The first {} are listed.", rows_listed) : "", all.size() <= 10 ? " open" : "", scroll_box("Quarantined images"));
  for (size_t i = 0; i < std::min(all.size(), rows_listed); ++i)
    html += fmt::format("<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>\n", escape(all[i].key), escape(all[i].where),
                        escape(all[i].reason));
  return html + "</tbody></table></div>\n</details>\n</section>\n";
}

}  // namespace syncdr::evaluation
