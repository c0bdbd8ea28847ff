#include "global_batch.h"

#include <ATen/TensorIndexing.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <limits>

#include "syncdr/core/error.h"
#include "syncdr/data/crew.h"

namespace syncdr::retrieval {
namespace {

std::vector<int64_t> batch_sizes(const std::vector<const data::PairSet*>& sets, int64_t batch) {
  int64_t shortest = std::numeric_limits<int64_t>::max();
  for (const auto* set : sets) shortest = std::min(shortest, set->size());
  if (shortest < batch) {
    throw core::UsageError("a batch of {} from a domain with {} training images and translations. Use a smaller train.batch or more images.", batch, shortest);
  }
  std::vector<int64_t> sizes;
  for (const auto* set : sets) sizes.push_back(std::llround(static_cast<double>(batch) * static_cast<double>(set->size()) / static_cast<double>(shortest)));
  return sizes;
}

}  // namespace

GlobalBatches::GlobalBatches(std::vector<const data::PairSet*> sets, int64_t batch, uint64_t seed, int rank, int ranks)
    : sets_(std::move(sets)), sizes_(batch_sizes(sets_, batch)), steps_per_epoch_(std::numeric_limits<int64_t>::max()), seed_(seed), rank_(rank),
      ranks_(ranks) {
  if (batch < ranks) throw core::UsageError("a global batch of {} images per domain for {} ranks. Use a larger train.batch or fewer ranks.", batch, ranks);
  for (size_t k = 0; k < sets_.size(); ++k) {
    orders_.emplace_back(sets_[k]->size(), sizes_[k], seed, /*stream=*/k);
    // Rounding a longer domain's batch can leave it one batch more or less than the shortest one.
    steps_per_epoch_ = std::min(steps_per_epoch_, orders_[k].batches_per_epoch());
  }
  SYNCDR_ASSERT(steps_per_epoch_ > 0, "no step in an epoch of batches of {}", fmt::join(sizes_, " and "));
}

std::vector<int64_t> GlobalBatches::entries(size_t domain, int64_t step, training::Part part) const {
  return orders_[domain].entries(step / steps_per_epoch_, step % steps_per_epoch_, part.first, part.last);
}

double GlobalBatches::pair_weight(size_t domain, int64_t entry, int64_t step) const {
  const data::PairSet& set = *sets_[domain];
  return set.weighted() ? data::draw(set, entry, /*counterpart=*/set.is_real(entry), seed_, step / steps_per_epoch_).place.weight : 1;
}

GlobalBatch GlobalBatches::at(int64_t step) const {
  const size_t domains = sets_.size();
  GlobalBatch batch{.domains = std::vector<DomainBatch>(domains)};
  std::vector<std::vector<int64_t>> ids(domains), features(domains), paired(domains), counterparts(domains);
  std::vector<std::vector<double>> weights(domains);
  for (size_t k = 0; k < domains; ++k) ids[k] = entries(k, step, {0, sizes_[k]});
  int64_t row = 0;  // among the gathered rows: rank after rank, each in the order of load()
  for (int rank = 0; rank < ranks_; ++rank) {
    for (size_t k = 0; k < domains; ++k) {
      const training::Part part = training::part_of(sizes_[k], rank, ranks_);
      if (rank == rank_) batch.domains[k].own = part;
      for (int64_t position = part.first; position < part.last; ++position) features[k].push_back(row++);
      for (int64_t position = part.first; position < part.last; ++position) {
        const int64_t entry = ids[k][static_cast<size_t>(position)];
        if (!sets_[k]->has_counterpart(entry)) continue;
        paired[k].push_back(position);
        counterparts[k].push_back(row++);
        weights[k].push_back(pair_weight(k, entry, step));
      }
    }
  }
  for (size_t k = 0; k < domains; ++k) {
    batch.domains[k].ids = at::tensor(ids[k], at::kLong);
    batch.domains[k].features = at::tensor(features[k], at::kLong);
    batch.domains[k].paired = at::tensor(paired[k], at::kLong);
    batch.domains[k].counterparts = at::tensor(counterparts[k], at::kLong);
    batch.domains[k].weights = at::tensor(weights[k], at::kDouble);
  }
  batch.images = row;
  return batch;
}

at::Tensor GlobalBatches::load(int64_t step, const data::AugmentConfig& augment) const {
  std::vector<at::Tensor> parts;
  for (size_t k = 0; k < sets_.size(); ++k) {
    const auto own = entries(k, step, training::part_of(sizes_[k], rank_, ranks_));
    const data::PairBatch pairs = data::load_pairs(*sets_[k], own, augment, seed_, step / steps_per_epoch_);
    parts.push_back(pairs.images);
    if (pairs.counterparts.defined()) parts.push_back(pairs.counterparts.index({pairs.has_counterpart}));
  }
  return at::cat(parts).contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor GlobalBatches::load_kept(int64_t step, const KeptFeatures& kept) const {
  std::vector<data::Draw> draws;
  for (size_t k = 0; k < sets_.size(); ++k) {
    const auto own = entries(k, step, training::part_of(sizes_[k], rank_, ranks_));
    for (const bool counterpart : {false, true}) {
      for (const int64_t entry : own)
        if (!counterpart || sets_[k]->has_counterpart(entry)) draws.push_back(data::draw(*sets_[k], entry, counterpart, seed_, step / steps_per_epoch_));
    }
  }
  at::Tensor rows = at::empty({std::ssize(draws), kept.width()}, at::kFloat);
  data::each_image(rows.size(0), [&](int64_t i) {
    const data::Draw& drawn = draws[static_cast<size_t>(i)];
    const auto view = static_cast<int64_t>(drawn.random(1).below(static_cast<uint64_t>(kept.views())));
    kept.read(drawn.place, view, {rows.data_ptr<float>() + i * kept.width(), static_cast<size_t>(kept.width())});
  });
  return rows;
}

}  // namespace syncdr::retrieval
