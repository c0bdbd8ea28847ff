#include "syncdr/evaluation/evaluate.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <map>
#include <set>

#include "categories.h"
#include "embed.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/scratch.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t shown_neighbours = 15;  // what the report may show of a query

struct Labelled {
  std::string domain;
  at::Tensor features, labels;  // [N, D] float on the device, [N] int64 on the CPU
};

// The rows of the gallery whose category some query has.
at::Tensor shared_rows(const Labelled& queries, const Labelled& gallery) {
  const Categories wanted = categories_of(queries.labels);
  const auto labels = gallery.labels.accessor<int64_t, 1>();
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < labels.size(0); ++row)
    if (wanted.contains(labels[row])) rows.push_back(row);
  return at::tensor(rows, at::kLong);
}

// Rows of features, [n, D].
at::Tensor rows_of(const at::Tensor& features, const at::Tensor& rows) {
  if (!features.is_cpu()) return features.index_select(0, rows.to(features.device()));
  auto some = io::scratch_tensor({rows.size(0), features.size(1)});
  return at::index_select_out(some, features, 0, rows);
}

// One direction; what its queries found goes into `hits`.
DirectionScores measure(const Labelled& queries, const Labelled& gallery, const EvaluateConfig& config, HitsByMeasure& hits) {
  const auto measures = config.measures();
  const bool whole = config.gallery == "all";
  const at::Tensor rows = whole ? at::Tensor() : shared_rows(queries, gallery);
  const at::Tensor features = whole ? gallery.features : rows_of(gallery.features, rows);
  const at::Tensor labels = whole ? gallery.labels : gallery.labels.index_select(0, rows);
  Found found = measure(queries.features, features, queries.labels, labels, measures, shown_neighbours);
  DirectionScores result{.query_domain = queries.domain, .gallery_domain = gallery.domain};
  result.queries = queries.features.size(0);
  result.gallery = features.size(0);
  result.nearest = whole ? found.nearest : rows.index_select(0, found.nearest.flatten()).view(found.nearest.sizes());
  const Categories asked = categories_of(queries.labels), there = categories_of(labels);
  result.category_set = category_set(asked, there);
  result.shared_categories = std::ranges::count_if(asked, [&](int64_t category) { return there.contains(category); });
  result.unanswerable = result.queries - std::ssize(found.hits.begin()->second.hits);
  for (auto& [measured, of_queries] : found.hits) hits[measured].push_back(std::move(of_queries));
  return result;
}

/// Domains whose features are nearly all the same: what is found there is chance.
std::vector<std::string> collapsed_domains(const std::vector<Labelled>& domains) {
  constexpr double nearly = 0.999;  // length of the mean of unit features; of pretrained encoders it is about 0.5 to 0.9
  std::vector<std::string> collapsed;
  for (const Labelled& domain : domains) {
    const double length = domain.features.mean(0).norm().item<double>();
    if (length < nearly || domain.features.size(0) < 2) continue;
    core::warn("the features of {} are nearly all the same (their mean has length {:.5f}): the encoder has collapsed, what it finds is chance", domain.domain,
               length);
    collapsed.push_back(domain.domain);
  }
  return collapsed;
}

// training: the categories of each domain's training images; empty: not known.
Evaluation measure_all(const std::vector<Labelled>& domains, const std::vector<Categories>& training, const EvaluateConfig& config, uint64_t seed) {
  Evaluation result{.cutoffs = config.cutoffs, .protocol = config.protocol, .collapsed = collapsed_domains(domains)};
  std::vector<std::pair<size_t, size_t>> places;
  for (size_t query = 0; query < domains.size(); ++query)
    for (size_t gallery = 0; gallery < domains.size(); ++gallery) {
      if (query == gallery) continue;
      result.directions.push_back(measure(domains[query], domains[gallery], config, result.hits));
      places.emplace_back(query, gallery);
    }
  result.categories = fewest_categories(result.hits.begin()->second);  // they do not depend on the measure
  auto [figures, mean] = figures_of(result.hits, result.unit(), seed, config.resamples);
  for (size_t d = 0; d < figures.size(); ++d) result.directions[d].figures = std::move(figures[d]);
  result.mean = std::move(mean);
  if (!training.empty()) result.groups = groups_of(result, places, training, seed, config.resamples);
  return result;
}

std::vector<Categories> known_training(const EvaluationData& data) {
  std::vector<Categories> all;
  for (const auto& domain : data.domains) {
    auto categories = training_categories(data.dataset, domain);
    if (!categories) return {};
    all.push_back(std::move(*categories));
  }
  return all;
}

// Throws if an image is in the list twice: it would be counted twice. Keys within a shard are different.
void check_ids(const data::ShardList& list, const std::string& domain, const std::string& split) {
  if (list.shards() < 2) return;
  std::vector<uint64_t> hashes;
  hashes.reserve(static_cast<size_t>(list.rows()));
  for (int64_t row = 0; row < list.rows(); ++row) hashes.push_back(io::hash64(list.key(row)));
  std::sort(hashes.begin(), hashes.end());
  if (std::adjacent_find(hashes.begin(), hashes.end()) == hashes.end()) return;
  std::map<std::string, int64_t> first_rows;  // of keys whose hash is there twice
  for (int64_t row = 0; row < list.rows(); ++row) {
    const auto key = list.key(row);
    if (std::ranges::equal_range(hashes, io::hash64(key)).size() < 2) continue;
    const auto [first, fresh] = first_rows.emplace(key, row);
    if (!fresh)
      throw core::DataError("evaluation: {}, split \"{}\": rows {} and {} are the same image (\"{}\"), which would count twice: pack the dataset again.",
                            domain, split, first->second, row, key);
  }
}

void check_cutoffs(const std::vector<int64_t>& cutoffs, const char* setting) {
  const std::set<int64_t> different(cutoffs.begin(), cutoffs.end());
  if (different.size() != cutoffs.size()) throw core::UsageError("evaluate.{} = [{}]: a k is there twice.", setting, fmt::join(cutoffs, ", "));
}

}  // namespace

std::vector<Measure> EvaluateConfig::measures() const {
  if (cutoffs.empty()) throw core::UsageError("evaluate.cutoffs is empty. Name the k of Prec@k, as in [1, 5, 15].");
  check_cutoffs(cutoffs, "cutoffs");
  check_cutoffs(further_cutoffs, "further_cutoffs");
  check_cutoffs(recall, "recall");
  std::set<Measure> all(cutoffs.begin(), cutoffs.end());
  all.insert(further_cutoffs.begin(), further_cutoffs.end());
  for (const int64_t k : recall) all.emplace(Measure::Kind::recall, k);
  if (mean_average_precision) all.emplace(Measure::Kind::average_precision, 0);
  return {all.begin(), all.end()};
}

at::Tensor labels_of(const data::ShardList& list, const std::string& domain, const std::string& split) {
  if (list.rows() == 0) throw core::DataError("evaluation: {} has no images in split \"{}\".", domain, split);
  const auto labels = at::empty({list.rows()}, at::kLong);
  auto values = labels.accessor<int64_t, 1>();
  for (int64_t row = 0; row < list.rows(); ++row) {
    values[row] = list.label(row);
    if (values[row] < 0)
      throw core::DataError(
          "evaluation: {}, split \"{}\": row {} (\"{}\") has no label. Evaluation needs the category of every image: pack the split with "
          "labels.",
          domain, split, row, list.key(row));
  }
  check_ids(list, domain, split);
  return labels;
}

Evaluation evaluate(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const EvaluateConfig& config) {
  config.measures();
  std::vector<data::ShardList> lists;
  std::vector<Labelled> domains;
  for (const auto& domain : data.domains) {
    lists.push_back(data.dataset.real(domain, data.split));
    domains.push_back({.domain = domain, .labels = labels_of(lists.back(), domain, data.split)});
  }
  for (size_t i = 0; i < domains.size(); ++i) domains[i].features = embed_domain(world, encoder, data, lists[i], domains[i].domain, config.batch);
  Evaluation result;
  world.root_only("measuring retrieval", [&] {
    for (Labelled& domain : domains) domain.features = domain.features.to(world.device());
    result = measure_all(domains, known_training(data), config, data.seed);
  });
  return result;
}

}  // namespace syncdr::evaluation
