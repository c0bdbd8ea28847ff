#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "syncdr/comm/gradient_reducer.h"
#include "syncdr/comm/world.h"
#include "syncdr/nn/sum_over_ranks.h"

namespace torch::nn {
class Module;
}

namespace syncdr::training {

/// A module trained data-parallel: each rank computes its share of the global loss, gradients are summed while the backward pass runs.
///
///     parallel.before_forward();
///     at::Tensor share = ...;            // shares of all ranks sum to the loss of the global batch
///     parallel.backward(share);          // every rank now holds the gradient of the global loss
///     optimizer.step();
///
/// This rule (shares, not means) stays right when ranks hold different numbers of samples and when a loss couples samples of several ranks.
class DataParallel {
 public:
  /// Parameters and buffers of rank 0 are sent to all ranks.
  DataParallel(comm::World& world, torch::nn::Module& module);
  /// Those that are trained.
  const std::vector<at::Tensor>& parameters() const { return parameters_; }
  void before_forward();
  /// Replaces the gradients: no call to zero_grad is needed.
  void backward(const at::Tensor& share_of_loss);
  /// The same in parts, each of which is computed when the one before has been backpropagated and its activations are gone: share_of(k) is part k's share of
  /// the loss, and all of them add up to this rank's. Ranks are summed with the last one, so they may have different numbers of parts.
  void backward_in_parts(int64_t parts, const std::function<at::Tensor(int64_t part)>& share_of);

 private:
  comm::World& world_;
  std::vector<at::Tensor> parameters_;
  comm::GradientReducer reducer_;
};

/// What nn::BatchNorm needs for statistics of the global batch; empty with one rank. The world must outlive it.
nn::SumOverRanks sum_over_ranks(comm::World& world);

}  // namespace syncdr::training
