#include "syncdr/evaluation/validate.h"

#include <ATen/ops/cat.h>
#include <array>

#include "embed.h"
#include "pairs.h"
#include "syncdr/core/error.h"
#include "syncdr/evaluation/search.h"
#include "syncdr/evaluation/unlabelled.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t pairs_of_a_direction = 128;

// Undefined unless every image has a label.
at::Tensor labels_of(const data::ShardList& list) {
  const auto labels = at::empty({list.rows()}, at::kLong);
  auto values = labels.accessor<int64_t, 1>();
  for (int64_t row = 0; row < list.rows(); ++row)
    if ((values[row] = list.label(row)) < 0) return {};
  return labels;
}

// Rows of the sources, and of the translations made from them, evenly spread.
std::array<std::vector<int64_t>, 2> spread_pairs(const data::ShardList& sources, const data::ShardList& made) {
  const auto all = pairs_of(sources, made);
  const int64_t count = std::min(std::ssize(all), pairs_of_a_direction);
  std::array<std::vector<int64_t>, 2> rows;
  for (int64_t i = 0; i < count; ++i) {
    const Pair& pair = all[static_cast<size_t>(i * std::ssize(all) / count)];
    rows[0].push_back(pair.source);
    rows[1].push_back(pair.translation);
  }
  return rows;
}

double alignment_of_sets(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const std::vector<std::string>& sets, int64_t batch) {
  std::vector<at::Tensor> from, into;
  for (const auto& set : sets)
    for (const auto& source : data.domains)
      for (const auto& target : data.domains) {
        if (source == target) continue;
        const auto made = data.dataset.synthetic(source, target, set), sources = data.dataset.real(source, made.shard(0).header().split);
        const auto rows = spread_pairs(sources, made);
        from.push_back(embed_rows(world, encoder, sources, rows[0], data.views, batch, data.pooled));
        into.push_back(embed_rows(world, encoder, made, rows[1], data.views, batch, data.pooled));
      }
  return from.empty() || !world.is_root() ? retrieval::Validation::unknown : alignment(at::cat(from), at::cat(into));
}

struct Domain {
  at::Tensor features, labels;
};

retrieval::Validation measure(const std::vector<Domain>& domains) {
  retrieval::Validation found;
  double mutual = 0, pairs = 0;
  std::vector<QueryHits> hits;
  for (size_t a = 0; a < domains.size(); ++a)
    for (size_t b = a + 1; b < domains.size(); ++b) {
      // What each row of one domain finds first in the other.
      const auto nearest = [&](const Domain& queries, const Domain& gallery) -> Neighbours {
        if (!queries.labels.defined() || !gallery.labels.defined()) return top_k(queries.features, gallery.features, 1);
        const Measure first(1);
        auto [of_queries, rows] = evaluation::measure(queries.features, gallery.features, queries.labels, gallery.labels, {&first, 1}, /*kept=*/1);
        hits.push_back(std::move(of_queries.at(first)));
        return {.indices = rows};
      };
      mutual += mutual_share(nearest(domains[a], domains[b]), nearest(domains[b], domains[a]));
      ++pairs;
    }
  found.mutual = mutual / pairs;
  if (std::ssize(hits) == 2 * static_cast<int64_t>(pairs)) found.labels = share_correct(hits, Unit::queries, 0, /*resamples=*/0).value;
  std::vector<at::Tensor> features;
  for (const auto& domain : domains) features.push_back(domain.features);
  found.uniformity = uniformity(at::cat(features));
  return found;
}

}  // namespace

retrieval::Validation validate(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const std::vector<std::string>& sets,
                               int64_t batch) {
  std::vector<Domain> domains;
  for (const auto& domain : data.domains) {
    const auto list = data.dataset.real(domain, data.split);
    if (list.rows() == 0) throw core::DataError("validation: {} has no images in split \"{}\"", domain, data.split);
    domains.push_back({embed_domain(world, encoder, data, list, domain, batch), labels_of(list)});
  }
  const double aligned = alignment_of_sets(world, encoder, data, sets, batch);
  retrieval::Validation found;
  world.root_only("validating", [&] {
    for (Domain& domain : domains) domain.features = domain.features.to(world.device());
    found = measure(domains);
    found.alignment = aligned;
  });
  return found;
}

}  // namespace syncdr::evaluation
