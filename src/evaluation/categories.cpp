#include "categories.h"

#include <algorithm>

namespace syncdr::evaluation {
namespace {

struct Group {
  const char* name;
  bool (*holds)(bool in_query_domain, bool in_gallery_domain);
};
constexpr Group all_groups[] = {
    {"seen", [](bool query, bool gallery) { return query || gallery; }},
    {"unseen", [](bool query, bool gallery) { return !query && !gallery; }},
    {"seen_in_both", [](bool query, bool gallery) { return query && gallery; }},
    {"seen_in_query_domain", [](bool query, bool gallery) { return query && !gallery; }},
    {"seen_in_gallery_domain", [](bool query, bool gallery) { return !query && gallery; }},
};

QueryHits some_of(const QueryHits& all, const auto& wanted) {
  QueryHits some;
  for (size_t q = 0; q < all.hits.size(); ++q) {
    if (!wanted(all.categories[q])) continue;
    some.categories.push_back(all.categories[q]);
    some.hits.push_back(all.hits[q]);
  }
  return some;
}

}  // namespace

Categories categories_of(const at::Tensor& labels) {
  const int64_t* values = labels.const_data_ptr<int64_t>();
  return {values, values + labels.numel()};
}

std::string category_set(const Categories& queries, const Categories& gallery) {
  if (queries == gallery) return "closed";
  const bool inside = std::includes(gallery.begin(), gallery.end(), queries.begin(), queries.end()) ||
                      std::includes(queries.begin(), queries.end(), gallery.begin(), gallery.end());
  return inside ? "partial" : "open";
}

std::optional<Categories> training_categories(const data::Dataset& dataset, const std::string& domain) {
  if (!dataset.has(domain, "train")) return std::nullopt;
  const auto list = dataset.real(domain, "train");
  Categories categories;
  for (int64_t row = 0; row < list.rows(); ++row) {
    if (list.label(row) < 0) return std::nullopt;
    categories.insert(list.label(row));
  }
  if (categories.empty()) return std::nullopt;
  return categories;
}

std::vector<CategoryGroup> groups_of(const Evaluation& evaluation, const std::vector<std::pair<size_t, size_t>>& domains,
                                     const std::vector<Categories>& training, uint64_t seed, int64_t resamples) {
  std::vector<CategoryGroup> groups;
  for (const Group& group : all_groups) {
    CategoryGroup result{.name = group.name};
    HitsByMeasure hits;
    for (const auto& [measure, directions] : evaluation.hits) {
      const bool shown = measure.kind == Measure::Kind::average_precision ||
                         (measure.kind == Measure::Kind::precision && std::ranges::count(evaluation.cutoffs, measure.k) > 0);
      if (!shown) continue;
      result.queries.clear();
      for (size_t d = 0; d < directions.size(); ++d) {
        const auto& [query, gallery] = domains[d];
        auto some =
            some_of(directions[d], [&](int32_t category) { return group.holds(training[query].contains(category), training[gallery].contains(category)); });
        result.queries.push_back(std::ssize(some.hits));
        if (!some.hits.empty()) hits[measure].push_back(std::move(some));
      }
    }
    if (hits.empty()) continue;
    result.mean = figures_of(hits, unit_for(fewest_categories(hits.begin()->second)), seed, resamples).mean;
    groups.push_back(std::move(result));
  }
  return groups;
}

}  // namespace syncdr::evaluation
