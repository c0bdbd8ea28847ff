#pragma once
#include <ATen/core/Tensor.h>

#include "syncdr/data/loader.h"
#include "syncdr/fit/cut.h"
#include "syncdr/training/data_parallel.h"

namespace syncdr::fit {

/// This rank's images of one step, [b, 3, S, S] uint8 each.
struct CutBatch {
  at::Tensor source, target;
};

/// The unpaired images of each step: both domains in their own random order, an order an epoch of theirs. A pure function of the step and the seed.
class CutBatches {
 public:
  /// Throws UsageError if a domain has fewer training images than a batch.
  CutBatches(const data::Dataset& dataset, const std::string& source, const std::string& target, const CutConfig& config, uint64_t seed,
             training::Part part);
  CutBatch load(int64_t step) const;

 private:
  struct Side {
    Side(const data::Dataset& dataset, const std::string& domain, const std::string& other, int64_t batch, uint64_t seed, uint64_t stream);
    at::Tensor load(int64_t step, training::Part part, const data::AugmentConfig& config, uint64_t seed) const;
    data::PairSet set;
    data::BatchOrder order;
  };
  Side source_, target_;
  data::AugmentConfig augment_;
  uint64_t seed_;
  training::Part part_;
};

/// Where PatchNCE compares in one step: per layer min(patches, h*w) different locations, the same for every image of the global batch.
std::vector<at::Tensor> patch_locations(const std::vector<at::Tensor>& features, int64_t patches, uint64_t seed, int64_t step);

}  // namespace syncdr::fit
