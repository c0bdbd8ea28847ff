#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "syncdr/data/loader.h"
#include "syncdr/training/part.h"

/// Images of several domains without any relation between them, as translators are trained on.
namespace syncdr::fit {

struct UnpairedOptions {
  int64_t batch = 1;  ///< images of each domain in a global batch
  data::AugmentConfig augment;
  std::string extra;  ///< a further split; empty: none
  std::string keys;   ///< of these settings: "fit.cut", for messages
};

/// One domain's images in their own random order, an order an epoch of theirs: a pure function of the step and the seed.
class ImageStream {
 public:
  /// The domain's split "train", followed by the extra split where the domain has it. stream: tells apart the orders of one seed.
  /// Throws UsageError if there are fewer images than a batch.
  ImageStream(const data::Dataset& dataset, const std::string& domain, UnpairedOptions options, uint64_t seed, uint64_t stream);

  int64_t epoch_of(int64_t step) const { return step / order_.batches_per_epoch(); }
  /// Which images are at positions `part` of the step's global batch,
  std::vector<int64_t> entries(int64_t step, training::Part part) const;
  /// and what an epoch's augmentation makes of them: [b, 3, S, S] uint8, channels last. May be called from several threads.
  at::Tensor load(const std::vector<int64_t>& entries, int64_t epoch) const;

 private:
  UnpairedOptions options_;
  std::vector<data::PairSet> sets_;  // of one split or two
  uint64_t seed_;
  data::BatchOrder order_;
};

/// This rank's images of one step, of each domain [b, 3, S, S] uint8.
using UnpairedBatch = std::vector<at::Tensor>;

/// The unpaired images of each step: every domain in an order of its own.
class UnpairedBatches {
 public:
  /// part: this rank's of the batch. Throws UsageError if a domain has fewer images than a batch, or if none has the extra split.
  UnpairedBatches(const data::Dataset& dataset, const std::vector<std::string>& domains, const UnpairedOptions& options, uint64_t seed, training::Part part);
  UnpairedBatch load(int64_t step) const;

 private:
  training::Part part_;
  std::vector<ImageStream> streams_;  // of the domains
};

}  // namespace syncdr::fit
