#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "syncdr/comm/world.h"

namespace c10d {
class Reducer;
}

namespace syncdr::comm {

/// Averages gradients over ranks while the backward pass still runs: c10d::Reducer (the engine of DistributedDataParallel), behind one file
/// because its constructor changes between releases. With one rank it does nothing.
///
///     reducer.before_forward();  loss = ...;  reducer.before_backward();  loss.backward();   // gradients are now equal on all ranks
///
/// Every parameter that needs a gradient must take part in each backward pass; the others are left alone. Throws if ranks bring parameters of different
/// number or shape.
class GradientReducer {
 public:
  /// Of the buckets in which gradients travel; the first one starts the overlap early.
  static constexpr int64_t first_bucket_bytes = int64_t{1} << 20, bucket_bytes = int64_t{25} << 20;

  GradientReducer(World& world, std::vector<at::Tensor> parameters);

  void before_forward();
  void before_backward();

 private:
  std::shared_ptr<c10d::Reducer> reducer_;
};

}  // namespace syncdr::comm
