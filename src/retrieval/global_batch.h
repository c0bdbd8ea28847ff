#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "kept_features.h"
#include "syncdr/data/loader.h"
#include "syncdr/data/pair_set.h"
#include "syncdr/training/part.h"

namespace syncdr::retrieval {

/// One domain's part of a global batch. Every rank computes it by itself: it follows from seed, step and number of ranks.
struct DomainBatch {
  at::Tensor ids;           ///< [B] int64: the entries, in the batch's order
  at::Tensor features;      ///< [B] int64: where their features lie among the gathered rows of all ranks
  at::Tensor paired;        ///< [P] int64: positions in the batch whose entry has a counterpart
  at::Tensor counterparts;  ///< [P] int64: where these counterparts' features lie among the gathered rows
  at::Tensor weights;       ///< [P] double: of each pair
  training::Part own;       ///< positions that this rank encodes
};

struct GlobalBatch {
  std::vector<DomainBatch> domains;
  int64_t images = 0;  ///< encoded by all ranks together, counterparts included
};

/// Which entries a step trains on and which rank encodes them.
///
/// The shortest domain gives `batch` entries, each other one as many as the ratio of lengths says, so that an epoch passes over all. Each
/// domain's part is dealt to ranks in contiguous slices. A rank encodes, in one call of the encoder and in this order: its entries of the first domain,
/// their counterparts, its entries of the second, their counterparts, and so on. Entries without a counterpart give no row there (a blank image in its place
/// would count in batch normalisation). One call for everything rather than one per domain, as in the published code: half the collectives of
/// a global batch normalisation, larger matrix products, and statistics of all domains together, as evaluation uses them.
class GlobalBatches {
 public:
  /// Throws UsageError if a domain is shorter than its batch or a batch has fewer entries than there are ranks.
  GlobalBatches(std::vector<const data::PairSet*> sets, int64_t batch, uint64_t seed, int rank, int ranks);

  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  GlobalBatch at(int64_t step) const;
  /// This rank's images of a step, in the order above: [n, 3, S, S] uint8, channels last. May be called from several threads.
  at::Tensor load(int64_t step, const data::AugmentConfig& augment) const;
  /// The same images' kept features, of a view of each that is drawn: [n, F] float.
  at::Tensor load_kept(int64_t step, const KeptFeatures& kept) const;

 private:
  std::vector<int64_t> entries(size_t domain, int64_t step, training::Part part) const;
  /// Of an entry that has a counterpart: of the translation which one of the two is.
  double pair_weight(size_t domain, int64_t entry, int64_t step) const;

  std::vector<const data::PairSet*> sets_;  // of each domain, as all that follow
  std::vector<int64_t> sizes_;
  std::vector<data::BatchOrder> orders_;
  int64_t steps_per_epoch_;
  uint64_t seed_;
  int rank_, ranks_;
};

}  // namespace syncdr::retrieval
