#include <algorithm>
#include <boost/json/array.hpp>
#include <map>
#include <set>

#include "arms.h"
#include "html.h"
#include "page.h"
#include "syncdr/io/json.h"

namespace syncdr::evaluation {
namespace {

constexpr size_t matrix_categories = 24;  // more do not fit a page; their most frequent confusions are listed
constexpr size_t pairs_listed = 15, worst_listed = 15;
constexpr int64_t enough_queries = 4;  // of a category, on average, to say how well it is found
constexpr size_t directions_shown = 12;

// Names as they were packed, where they were; else numbers.
std::vector<std::string> category_names(const data::Dataset& dataset) {
  const auto& settings = dataset.manifest().settings;
  const auto found = settings.find("categories");
  std::vector<std::string> names;
  if (found == settings.end()) return names;
  const auto list = io::parse_json(found->second, "categories");
  if (const auto* array = list.if_array())
    for (const auto& name : *array) names.emplace_back(name.is_string() ? std::string(name.get_string()) : "");
  return names;
}

/// What the nearest image of each query shows, of one direction.
struct Confusion {
  std::vector<int32_t> categories;                       // of queries and of what they find, ascending
  std::map<std::pair<int32_t, int32_t>, int64_t> found;  // (query's, nearest's) -> queries
  std::map<int32_t, int64_t> queries;                    // of each category
  int64_t right(int32_t category) const {
    const auto at = found.find({category, category});
    return at == found.end() ? 0 : at->second;
  }
  double share_right(int32_t category) const { return static_cast<double>(right(category)) / static_cast<double>(queries.at(category)); }
};

Confusion confusion_of(const data::ShardList& queries, const data::ShardList& gallery, const at::Tensor& nearest) {
  Confusion result;
  std::set<int32_t> there;
  for (int64_t row = 0; row < gallery.rows(); ++row) there.insert(gallery.label(row));
  std::set<int32_t> categories;
  const auto rows = nearest.accessor<int64_t, 2>();
  for (int64_t query = 0; query < queries.rows(); ++query) {
    const auto own = queries.label(query), other = gallery.label(rows[query][0]);
    if (!there.contains(own)) continue;  // nothing right could be found, as in Prec@k
    ++result.found[{own, other}];
    ++result.queries[own];
    categories.insert({own, other});
  }
  result.categories.assign(categories.begin(), categories.end());
  return result;
}

/// What categories are called: as they were packed, else by the folder of an image of theirs ("00A9" of "colour/00A9/test-0"), else by their number.
class Names {
 public:
  Names(const data::Dataset& dataset, const data::ShardList& images) : names_(category_names(dataset)) {
    for (int64_t row = 0; row < images.rows(); ++row) {
      const auto label = images.label(row);
      if (label < 0 || (static_cast<size_t>(label) < names_.size() && !names_[static_cast<size_t>(label)].empty())) continue;
      const std::filesystem::path folder = std::filesystem::path(images.key(row)).parent_path();
      if (folder.has_parent_path()) by_folder_.emplace(label, folder.filename().string());
    }
  }
  std::string operator()(int32_t category) const {
    const auto at = static_cast<size_t>(category);
    if (at < names_.size() && !names_[at].empty()) return escape(names_[at]);
    const auto found = by_folder_.find(category);
    return found == by_folder_.end() ? fmt::format("category {}", category) : escape(found->second);
  }

 private:
  std::vector<std::string> names_;
  std::map<int32_t, std::string> by_folder_;
};

std::string matrix(const Confusion& confusion, const Names& names, const std::string& title) {
  std::string html = scroll_box("Categories") + "<table class=\"matrix\">\n<caption>" + title +
                     "</caption>\n<thead><tr><th scope=\"col\"><span class=\"muted\">query</span></th>";
  for (const auto category : confusion.categories) html += "<th scope=\"col\"><span>" + names(category) + "</span></th>";
  html += "</tr></thead>\n<tbody>\n";
  for (const auto query : confusion.categories) {
    const auto of_query = confusion.queries.find(query);
    if (of_query == confusion.queries.end()) continue;
    html += fmt::format("<tr><th scope=\"row\">{}<span class=\"tag\">{} quer{}</span></th>", names(query), grouped(of_query->second),
                        of_query->second == 1 ? "y" : "ies");
    for (const auto other : confusion.categories) {
      const auto at = confusion.found.find({query, other});
      const int64_t count = at == confusion.found.end() ? 0 : at->second;
      const double share = static_cast<double>(count) / static_cast<double>(of_query->second);
      html += fmt::format("<td class=\"{}\" style=\"--share:{:.0f}%\">{}</td>", query == other ? "right" : "wrong", 60 * share,
                          count == 0 ? "" : fmt::format("{:.0f}", 100 * share));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

// The most frequent confusions, and the categories that are found worst: readable for any number of categories.
std::string lists(const Confusion& confusion, const Names& names, const std::string& title) {
  std::vector<std::pair<std::pair<int32_t, int32_t>, int64_t>> wrong;
  for (const auto& entry : confusion.found)
    if (entry.first.first != entry.first.second) wrong.push_back(entry);
  std::stable_sort(wrong.begin(), wrong.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  wrong.resize(std::min(wrong.size(), pairs_listed));
  std::vector<int32_t> asked;
  int64_t always = 0, never = 0, queries = 0;
  for (const auto& [category, count] : confusion.queries) {
    asked.push_back(category);
    always += confusion.right(category) == count;
    never += confusion.right(category) == 0;
    queries += count;
  }
  std::string html = fmt::format("<h3>{}</h3>\n<p>Of {} categories, {} are found right by every query, {} by none.</p>\n<div class=\"columns\">\n", title,
                                 grouped(std::ssize(asked)), grouped(always), grouped(never));
  html +=
      "<table class=\"list\">\n<caption>Most frequent confusions</caption>\n<thead><tr><th scope=\"col\">query</th><th scope=\"col\">found instead</th>"
      "<th scope=\"col\">queries</th></tr></thead>\n<tbody>\n";
  for (const auto& [pair, count] : wrong)
    html += fmt::format("<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td><td>{} of {}</td></tr>\n", names(pair.first), names(pair.second),
                        grouped(count), grouped(confusion.queries.at(pair.first)));
  html += "</tbody></table>\n";
  if (queries < enough_queries * std::ssize(asked)) return html + "</div>\n";
  std::stable_sort(asked.begin(), asked.end(), [&](int32_t a, int32_t b) { return confusion.share_right(a) < confusion.share_right(b); });
  asked.resize(std::min(asked.size(), worst_listed));
  html +=
      "<table class=\"list\">\n<caption>Categories found worst</caption>\n<thead><tr><th scope=\"col\">category</th>"
      "<th scope=\"col\">right, %</th><th scope=\"col\">queries</th></tr></thead>\n<tbody>\n";
  for (const auto category : asked)
    html += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n", names(category), percent(confusion.share_right(category)),
                        grouped(confusion.queries.at(category)));
  return html + "</tbody></table>\n</div>\n";
}

}  // namespace

std::string confusion_section(const data::Dataset& dataset, const ReportInput& input) {
  const auto* arm = main_of(input) ? main_of(input) : baseline_of(input);
  if (!arm) return "";
  const auto& directions = arm->evaluation.directions;
  std::string html;
  bool matrices = false;
  for (size_t i = 0; i < std::min(directions.size(), directions_shown); ++i) {
    const auto& direction = directions[i];
    const auto queries = dataset.real(direction.query_domain, input.split), gallery = dataset.real(direction.gallery_domain, input.split);
    const auto confusion = confusion_of(queries, gallery, direction.nearest);
    const Names names(dataset, gallery);
    const auto title = escape(name_of(direction, " → "));
    const bool small = confusion.categories.size() <= matrix_categories;
    matrices |= small;
    html += small ? matrix(confusion, names, title) : lists(confusion, names, title);
  }
  const char* reading = matrices
                            ? "A row holds the queries of a category, in %; a column what their nearest image shows. The diagonal is right; a coloured cell "
                              "beside it is a category that is taken for another."
                            : "Where the nearest image is of another category than the query, this is which.";
  const auto left_out = directions.size() > directions_shown ? fmt::format(" The first {} of {} directions.", directions_shown, directions.size()) : "";
  return fmt::format("<section>\n<h2 id=\"categories\">Categories</h2>\n<p>What the nearest image of each query shows, by {}. {}{}</p>\n{}</section>\n",
                     escape(arm->title), reading, left_out, html);
}

}  // namespace syncdr::evaluation
