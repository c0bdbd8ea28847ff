#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "syncdr/data/loader.h"
#include "syncdr/training/part.h"

/// Images of two domains without any relation between them, as translators are trained on.
namespace syncdr::fit {

/// One domain's images in their own random order, an order an epoch of theirs: a pure function of the step and the seed.
class ImageStream {
 public:
  /// The domain's split "train", followed by the split `extra` where that is named and the domain has it.
  /// batch_setting: names `batch` in messages. Throws UsageError if there are fewer images than a batch.
  ImageStream(const data::Dataset& dataset, const std::string& domain, const std::string& extra, int64_t batch, uint64_t seed, uint64_t stream,
              const std::string& batch_setting);

  /// Positions `part` of the step's global batch, augmented: [b, 3, S, S] uint8, channels last. May be called from several threads.
  at::Tensor load(int64_t step, training::Part part, const data::AugmentConfig& config) const;

  /// load() in two steps, for callers that do not need all the pixels: which images these are,
  int64_t epoch_of(int64_t step) const { return step / order_.batches_per_epoch(); }
  std::vector<int64_t> entries(int64_t step, training::Part part) const;
  /// and what an epoch's augmentation makes of them.
  at::Tensor load_entries(const std::vector<int64_t>& entries, int64_t epoch, const data::AugmentConfig& config) const;

 private:
  at::Tensor load_one(int64_t entry, int64_t epoch, const data::AugmentConfig& config) const;

  std::vector<data::PairSet> sets_;
  uint64_t seed_;
  data::BatchOrder order_;
};

/// This rank's images of one step, [b, 3, S, S] uint8 each.
struct UnpairedBatch {
  at::Tensor source, target;
};

struct UnpairedOptions {
  int64_t batch = 1;  ///< images of each domain in a global batch
  data::AugmentConfig augment;
  std::string extra;          ///< a further split; empty: none
  std::string batch_setting;  ///< "fit.cut.batch", for messages
};

/// The unpaired images of each step: both domains in orders of their own.
class UnpairedBatches {
 public:
  /// part: this rank's of the batch. Throws UsageError if a domain has fewer images than a batch, or if neither has the extra split.
  UnpairedBatches(const data::Dataset& dataset, const std::string& source, const std::string& target, UnpairedOptions options, uint64_t seed,
                  training::Part part);
  UnpairedBatch load(int64_t step) const;

 private:
  UnpairedOptions options_;
  training::Part part_;
  ImageStream source_, target_;
};

}  // namespace syncdr::fit
