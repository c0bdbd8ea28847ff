#include "syncdr/evaluation/retention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <tuple>

#include "pairs.h"
#include "syncdr/core/error.h"
#include "syncdr/evaluation/evaluate.h"
#include "syncdr/evaluation/search.h"

namespace syncdr::evaluation {
namespace {

// The table of pair_ranks().
at::Tensor table_of(const data::ShardList& sources, const data::ShardList& translations) {
  const auto pairs = pairs_of(sources, translations);
  // A variant of which all are quarantined has its column too: others count on the number of variants.
  const int64_t variants = sources.rows() > 0 ? (translations.rows() + sources.rows() - 1) / sources.rows() : 1;
  const auto table = at::full({sources.rows(), variants}, -1, at::kLong);
  auto slots = table.accessor<int64_t, 2>();
  for (const auto& [source, translation, variant] : pairs) {
    if (variant >= variants)
      throw core::DataError("\"{}\" has a variant {}, but there are {} translations of {} images: translate them again", sources.key(source), variant,
                            translations.rows(), sources.rows());
    slots[source][variant] = translation;
  }
  return table;
}

double first_share(const at::Tensor& ranks) { return ranks.eq(1).to(at::kDouble).mean().item<double>(); }
double mean_reciprocal(const at::Tensor& ranks) { return ranks.to(at::kDouble).reciprocal().mean().item<double>(); }

}  // namespace

int64_t PairRanks::pairs() const { return source.gt(0).sum().item<int64_t>(); }

at::Tensor PairRanks::share_before() const {
  const auto there = source.gt(0);
  const auto share = [&](const at::Tensor& ranks, const at::Tensor& rivals) { return (ranks - 1).to(at::kFloat) / rivals.sub(1).clamp_min(1).to(at::kFloat); };
  // All sources are rivals of a source; of a translation those that its variant has.
  const auto mean = (share(source, at::full({1}, source.size(0), at::kLong)) + share(translation, there.sum(0))) / 2;
  return mean.masked_fill(there.logical_not(), 1);
}

at::Tensor PairRanks::weights(double half) const {
  const auto share = share_before().to(at::kDouble);
  return (1 - share / (share + half)).masked_fill(source.eq(0), 0);
}

RetentionFigures figures_of(const PairRanks& ranks) {
  const auto there = ranks.source.gt(0);
  const auto sources = ranks.source.masked_select(there), translations = ranks.translation.masked_select(there);
  if (sources.numel() == 0) return {};
  return {first_share(sources), mean_reciprocal(sources), first_share(translations), mean_reciprocal(translations), sources.numel()};
}

PairRanks pair_ranks(const at::Tensor& sources, const at::Tensor& translations, const at::Tensor& table) {
  SYNCDR_ASSERT(table.dim() == 2 && table.size(0) == sources.size(0), "the table has {} rows of {} sources", table.size(0), sources.size(0));
  PairRanks ranks{at::zeros_like(table), at::zeros_like(table)};
  for (int64_t variant = 0; variant < table.size(1); ++variant) {
    const auto rows = table.select(1, variant), own = rows.ge(0).nonzero().squeeze(1);
    const auto at_device = [&](const at::Tensor& index) { return index.to(sources.device()); };
    const auto made = translations.index_select(0, at_device(rows.index_select(0, own)));
    const auto places = at::arange(own.size(0), own.options());
    ranks.source.select(1, variant).index_copy_(0, own, rank_of(made, sources, own));
    ranks.translation.select(1, variant).index_copy_(0, own, rank_of(sources.index_select(0, at_device(own)), made, places));
  }
  return ranks;
}

Extremes extremes_of(const PairRanks& ranks, const data::ShardList& sources, const data::ShardList& translations, int64_t count) {
  struct Judged {
    float share;
    double turn;  // multiples of the golden ratio: no stretch of the list comes first
    JudgedPair pair;
  };
  const auto shares = ranks.share_before(), table = table_of(sources, translations);
  SYNCDR_ASSERT(table.sizes() == shares.sizes(), "ranks of {} sources, a table of {}", shares.size(0), table.size(0));
  const auto share = shares.accessor<float, 2>();
  const auto slot = table.accessor<int64_t, 2>(), source_rank = ranks.source.accessor<int64_t, 2>(), made_rank = ranks.translation.accessor<int64_t, 2>();
  std::vector<Judged> all;
  for (int64_t row = 0; row < table.size(0); ++row)
    for (int64_t variant = 0; variant < table.size(1); ++variant) {
      if (source_rank[row][variant] == 0) continue;
      const double golden = static_cast<double>(all.size()) * std::numbers::phi;
      all.push_back({share[row][variant], golden - std::floor(golden), {row, slot[row][variant], source_rank[row][variant], made_rank[row][variant]}});
    }
  std::sort(all.begin(), all.end(), [](const Judged& a, const Judged& b) { return std::tie(a.share, a.turn) < std::tie(b.share, b.turn); });
  Extremes result;
  const auto each = std::min(static_cast<size_t>(count), all.size() / 2);
  for (size_t i = 0; i < each; ++i) {
    result.best.push_back(all[i].pair);
    result.worst.push_back(all[all.size() - 1 - i].pair);
  }
  return result;
}

PairRanks measure_retention(comm::World& world, retrieval::Encoder& encoder, const data::Dataset& dataset, const std::string& source, const std::string& target,
                            const std::string& run, const data::AugmentConfig& views, int64_t batch) {
  const auto made = dataset.synthetic(source, target, run), sources = dataset.real(source, made.shard(0).header().split);
  const auto table = table_of(sources, made);
  const auto of_sources = embed(world, encoder, sources, views, batch), of_made = embed(world, encoder, made, views, batch);
  PairRanks ranks;
  world.root_only("measuring retention", [&] { ranks = pair_ranks(of_sources.to(world.device()), of_made.to(world.device()), table); });
  return ranks;
}

}  // namespace syncdr::evaluation
