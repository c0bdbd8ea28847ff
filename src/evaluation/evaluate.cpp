#include "syncdr/evaluation/evaluate.h"

#include "syncdr/core/error.h"
#include "syncdr/data/loader.h"
#include "syncdr/nn/unit_rows.h"
#include "syncdr/retrieval/features.h"
#include "syncdr/training/part.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t shown_neighbours = 15;  // what the report may show of a query

/// Evaluation mode for as long as it lives.
class EvaluationMode {
 public:
  explicit EvaluationMode(torch::nn::Module& module) : module_(module), was_training_(module.is_training()) { module_.eval(); }
  ~EvaluationMode() { module_.train(was_training_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  torch::nn::Module& module_;
  bool was_training_;
};

// This rank's rows of the features: [n, D] on the CPU, undefined if it has none.
at::Tensor embed_part(comm::World& world, retrieval::Encoder& encoder, const data::ShardList& list, const data::AugmentConfig& views, int64_t batch) {
  // Ranks share whole calls: an image has the same place and neighbours in its call whatever their number.
  const int64_t call = retrieval::images_a_call(world.device(), batch);
  const auto part = training::part_of((list.rows() + call - 1) / call, world.rank(), world.size());
  const int64_t step_calls = world.device().is_cpu() ? at::get_num_threads() : 1;
  const int64_t steps = (part.size() + step_calls - 1) / step_calls;
  data::Prefetcher<at::Tensor> loader(
      [&](int64_t step) {
        const int64_t first = part.first + step * step_calls, last = std::min(first + step_calls, part.last);
        return data::load_evaluation(list, first * call, std::min(last * call, list.rows()), views);
      },
      0, steps, /*threads=*/1);
  std::vector<at::Tensor> features;
  while (!loader.done()) features.push_back(retrieval::features_of(encoder, loader.next(), world.device(), call).to(at::kCPU, at::kFloat));
  return features.empty() ? at::Tensor() : at::cat(features);
}

// [N] int64. Every rank reads them, so that unlabelled images are an error on all ranks alike, before any work.
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

struct Labelled {
  std::string domain;
  at::Tensor features, labels;  // [N, D] float on the device, [N] int64 on the CPU
};

Neighbours search(const Labelled& queries, const Labelled& gallery, const EvaluateConfig& config) {
  const int64_t deepest = *std::max_element(config.cutoffs.begin(), config.cutoffs.end());
  auto found = top_k(queries.features, gallery.features, std::max(shown_neighbours, deepest));
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

Evaluation measure_all(const std::vector<Labelled>& domains, const EvaluateConfig& config, uint64_t seed) {
  Evaluation result;
  for (const Labelled& queries : domains)
    for (const Labelled& gallery : domains) {
      if (&queries == &gallery) continue;
      const auto found = search(queries, gallery, config);
      result.directions.push_back(measure(found, queries, gallery, config));
      for (const int64_t k : config.cutoffs) result.hits[k].push_back(hits_at(found, queries.labels, gallery.labels, k));
    }
  result.categories = fewest_categories(result.hits.begin()->second);  // they do not depend on k
  auto [precision, mean] = figures_of(result.hits, result.unit(), seed, config.resamples);
  for (size_t d = 0; d < precision.size(); ++d) result.directions[d].precision = std::move(precision[d]);
  result.mean = std::move(mean);
  return result;
}

}  // namespace

at::Tensor embed(comm::World& world, retrieval::Encoder& encoder, const data::ShardList& list, const data::AugmentConfig& views, int64_t batch) {
  const EvaluationMode mode(*encoder);
  const at::NoGradGuard no_grad;
  auto part = embed_part(world, encoder, list, views, batch);
  // A rank without rows does not know the width that the others gather.
  const int64_t width = world.all_reduce_max(part.defined() ? part.size(1) : 0, "agreeing on the width of the features");
  if (!part.defined()) part = at::empty({0, width});
  auto all = world.all_gather_rows(part, "gathering features");
  return world.is_root() ? all : at::Tensor();
}

Evaluation evaluate(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const EvaluateConfig& config) {
  if (config.cutoffs.empty()) throw core::UsageError("evaluate.cutoffs is empty. Name the k of Prec@k, as in [1, 5, 15].");
  std::vector<data::ShardList> lists;
  std::vector<Labelled> domains;
  for (const auto& domain : data.domains) {
    lists.push_back(data.dataset.real(domain, data.split));
    domains.push_back({.domain = domain, .labels = labels_of(lists.back(), domain, data.split)});
  }
  for (size_t i = 0; i < domains.size(); ++i) {
    domains[i].features = embed(world, encoder, lists[i], data.views, config.batch);
    if (data.centre.empty()) continue;
    const auto others = embed(world, encoder, data.dataset.real(domains[i].domain, data.centre), data.views, config.batch);
    if (world.is_root()) domains[i].features = nn::unit_rows(domains[i].features - others.mean(0, /*keepdim=*/true, at::kDouble).to(at::kFloat));
  }
  Evaluation result;
  world.root_only("measuring retrieval", [&] {
    for (Labelled& domain : domains) domain.features = domain.features.to(world.device());
    result = measure_all(domains, config, data.seed);
  });
  return result;
}

Evaluation evaluate(comm::World& world, const std::filesystem::path& encoder, const EvaluationData& data, const EvaluateConfig& config) {
  auto loaded = retrieval::load_encoder(encoder);
  loaded->to(world.device());
  return evaluate(world, loaded, data, config);
}

}  // namespace syncdr::evaluation
