#include "global_batch.h"

#include <ATen/TensorIndexing.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <cmath>

#include "syncdr/core/error.h"

namespace syncdr::retrieval {
namespace {

std::array<int64_t, 2> batch_sizes(int64_t a, int64_t b, int64_t batch) {
  const int64_t shorter = std::min(a, b);
  if (shorter < batch) {
    throw core::UsageError("a batch of {} from a domain with {} training images and translations. Use a smaller train.batch or more images.", batch, shorter);
  }
  const auto scaled = [&](int64_t size) { return std::llround(static_cast<double>(batch) * static_cast<double>(size) / static_cast<double>(shorter)); };
  return {scaled(a), scaled(b)};
}

}  // namespace

GlobalBatches::GlobalBatches(const data::PairSet& a, const data::PairSet& b, int64_t batch, uint64_t seed, int rank, int ranks)
    : sets_{&a, &b}, sizes_(batch_sizes(a.size(), b.size(), batch)), seed_(seed), rank_(rank), ranks_(ranks) {
  if (batch < ranks) throw core::UsageError("a global batch of {} images per domain for {} ranks. Use a larger train.batch or fewer ranks.", batch, ranks);
  for (size_t k = 0; k < 2; ++k) orders_.emplace_back(sets_[k]->size(), sizes_[k], seed, /*stream=*/k);
  // Rounding the longer domain's batch can leave it one batch more or less than the shorter one.
  steps_per_epoch_ = std::min(orders_[0].batches_per_epoch(), orders_[1].batches_per_epoch());
  SYNCDR_ASSERT(steps_per_epoch_ > 0, "no step in an epoch of {} and {} entries", a.size(), b.size());
}

std::vector<int64_t> GlobalBatches::entries(size_t domain, int64_t step, training::Part part) const {
  return orders_[domain].entries(step / steps_per_epoch_, step % steps_per_epoch_, part.first, part.last);
}

GlobalBatch GlobalBatches::at(int64_t step) const {
  GlobalBatch batch;
  std::array<std::vector<int64_t>, 2> ids, features, paired, counterparts;
  for (size_t k = 0; k < 2; ++k) ids[k] = entries(k, step, {0, sizes_[k]});
  int64_t row = 0;  // among the gathered rows: rank after rank, each in the order of load()
  for (int rank = 0; rank < ranks_; ++rank) {
    for (size_t k = 0; k < 2; ++k) {
      const training::Part part = training::part_of(sizes_[k], rank, ranks_);
      if (rank == rank_) batch.domains[k].own = part;
      for (int64_t position = part.first; position < part.last; ++position) features[k].push_back(row++);
      for (int64_t position = part.first; position < part.last; ++position) {
        if (!sets_[k]->has_counterpart(ids[k][static_cast<size_t>(position)])) continue;
        paired[k].push_back(position);
        counterparts[k].push_back(row++);
      }
    }
  }
  for (size_t k = 0; k < 2; ++k) {
    batch.domains[k].ids = at::tensor(ids[k], at::kLong);
    batch.domains[k].features = at::tensor(features[k], at::kLong);
    batch.domains[k].paired = at::tensor(paired[k], at::kLong);
    batch.domains[k].counterparts = at::tensor(counterparts[k], at::kLong);
  }
  batch.images = row;
  return batch;
}

at::Tensor GlobalBatches::load(int64_t step, const data::AugmentConfig& augment) const {
  std::vector<at::Tensor> parts;
  for (size_t k = 0; k < 2; ++k) {
    const auto own = entries(k, step, training::part_of(sizes_[k], rank_, ranks_));
    const data::PairBatch pairs = data::load_pairs(*sets_[k], own, augment, seed_, step / steps_per_epoch_);
    parts.push_back(pairs.images);
    if (pairs.counterparts.defined()) parts.push_back(pairs.counterparts.index({pairs.has_counterpart}));
  }
  return at::cat(parts).contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace syncdr::retrieval
