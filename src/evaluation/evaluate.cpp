#include "syncdr/evaluation/evaluate.h"

#include "embed.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t shown_neighbours = 15;  // what the report may show of a query

struct Labelled {
  std::string domain;
  at::Tensor features, labels;  // [N, D] float on the device, [N] int64 on the CPU
};

Neighbours search(const Labelled& queries, const Labelled& gallery, const EvaluateConfig& config) {
  const int64_t deepest = *std::max_element(config.cutoffs.begin(), config.cutoffs.end());
  auto found = top_k(queries.features, gallery.features, std::max(shown_neighbours, deepest + 1));
  return {found.scores.to(at::kCPU), found.indices.to(at::kCPU)};
}

DirectionScores measure(const Neighbours& found, const Labelled& queries, const Labelled& gallery, const EvaluateConfig& config) {
  DirectionScores result{.query_domain = queries.domain, .gallery_domain = gallery.domain};
  result.queries = queries.features.size(0);
  result.gallery = gallery.features.size(0);
  if (config.mean_average_precision) result.mean_average_precision = mean_average_precision(queries.features, gallery.features, queries.labels, gallery.labels);
  result.nearest = found.indices.narrow(1, 0, std::min(shown_neighbours, found.indices.size(1))).clone();
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

Evaluation measure_all(const std::vector<Labelled>& domains, const EvaluateConfig& config, uint64_t seed) {
  Evaluation result{.collapsed = collapsed_domains(domains)};
  for (const Labelled& queries : domains)
    for (const Labelled& gallery : domains) {
      if (&queries == &gallery) continue;
      const auto found = search(queries, gallery, config);
      result.directions.push_back(measure(found, queries, gallery, config));
      auto hits = hits_with_ties(queries.features, gallery.features, found, queries.labels, gallery.labels, config.cutoffs);
      for (size_t c = 0; c < hits.size(); ++c) result.hits[config.cutoffs[c]].push_back(std::move(hits[c]));
    }
  result.categories = fewest_categories(result.hits.begin()->second);  // they do not depend on k
  auto [precision, mean] = figures_of(result.hits, result.unit(), seed, config.resamples);
  for (size_t d = 0; d < precision.size(); ++d) result.directions[d].precision = std::move(precision[d]);
  result.mean = std::move(mean);
  return result;
}

}  // namespace

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
  return labels;
}

Evaluation evaluate(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const EvaluateConfig& config) {
  if (config.cutoffs.empty()) throw core::UsageError("evaluate.cutoffs is empty. Name the k of Prec@k, as in [1, 5, 15].");
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
    result = measure_all(domains, config, data.seed);
  });
  return result;
}

}  // namespace syncdr::evaluation
