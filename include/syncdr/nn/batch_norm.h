#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/pimpl.h>

#include <string>

#include "syncdr/nn/sum_over_ranks.h"

namespace syncdr::nn {

/// How a batch normalisation takes its statistics while training: `global`, over the batch of all ranks (equal to one rank with the whole
/// batch); `local`, over this rank's part (what DistributedDataParallel does); `frozen`, from the running averages, which then stay.
enum class BatchNormMode { global, local, frozen };
BatchNormMode batch_norm_mode_from_name(const std::string& name);  ///< throws UsageError

/// Batch normalisation over [B, C, H, W] or [B, C] (Ioffe and Szegedy, ICML 2015), with PyTorch's names, momentum, 0.1, and, unless another is given,
/// epsilon.
/// Ranks may hold different numbers of samples; the statistics are of the global batch, and gradients flow through them.
class BatchNormImpl : public torch::nn::Module {
 public:
  explicit BatchNormImpl(int64_t channels, bool affine = true, double epsilon = 1e-5);
  /// Throws UsageError if the statistics of one value a channel are asked for (local mode, or one rank).
  at::Tensor forward(const at::Tensor& input);
  /// forward(convolution(input)); affine, the convolution without bias. Where statistics stay and no gradient is taken, the norm becomes part of the
  /// convolution's weights: two passes over the output less. padding: rows and columns, in place of the convolution's own.
  at::Tensor after(const torch::nn::Conv2d& convolution, const at::Tensor& input);
  at::Tensor after(const torch::nn::Conv2d& convolution, const at::Tensor& input, at::IntArrayRef padding);

  at::Tensor weight, bias;                                    // [C], undefined without affine
  at::Tensor running_mean, running_var, num_batches_tracked;  // [C], [C], []
  BatchNormMode mode = BatchNormMode::local;
  SumOverRanks sum_over_ranks;

 private:
  double epsilon_;
  bool takes_batch_statistics() const { return is_training() && mode != BatchNormMode::frozen; }
  at::Tensor forward_global(const at::Tensor& input);
};
TORCH_MODULE(BatchNorm);

/// Sets the mode of every BatchNorm inside a module.
void set_batch_norm_mode(torch::nn::Module& module, BatchNormMode mode, const SumOverRanks& sum_over_ranks);
/// How many of them take statistics over all ranks as the module is now: in global mode, and training.
int64_t batch_norms_over_ranks(const torch::nn::Module& module);

}  // namespace syncdr::nn
