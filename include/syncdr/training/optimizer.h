#pragma once
#include <torch/optim/optimizer.h>

#include <memory>
#include <string>
#include <vector>

#include "syncdr/io/safetensors.h"
#include "syncdr/training/optimizer_config.h"

namespace syncdr::training {

/// Weights that are trained at a rate of their own: `rate` times the schedule's.
struct ParameterGroup {
  std::vector<at::Tensor> parameters;
  double rate = 1;
};

/// PyTorch's optimizers; epsilon 1e-8. Throws UsageError on an unknown name, betas that are not two values below 1, or a warm-up in steps before one_cycle.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(const std::vector<ParameterGroup>& groups, const OptimizerConfig& config);
std::unique_ptr<torch::optim::Optimizer> make_optimizer(std::vector<at::Tensor> parameters, const OptimizerConfig& config);

/// The learning rate of step (0-based) out of steps. It rises in warmup_steps steps, (step + 1) / (warmup_steps + 1) of the largest (PyTorch's LinearLR from
/// 1 / (warmup_steps + 1)); the schedule has the steps after them. one_cycle: half a cosine up from 1/25 of the largest, then half a cosine down to 1/250,000
/// of it (Smith and Topin, 2017; PyTorch's OneCycleLR without its cycle of momentum); cosine: half a cosine towards floor after the last step (PyTorch's
/// CosineAnnealingLR); linear: constant for the first half, then straight towards 0 after the last step (CUT).
double learning_rate_at(const OptimizerConfig& config, int64_t step, int64_t steps);
/// For all groups, or for each its own share of it where they are given: those that the optimizer was made with.
void set_learning_rate(torch::optim::Optimizer& optimizer, double rate, const std::vector<ParameterGroup>& groups = {});

/// Shortens the gradient of all parameters together to this norm if it is longer (PyTorch's clip_grad_norm_); 0: leaves it. Without waiting for a GPU.
/// Gradients of a data-parallel step are those of the global batch, the same on every rank, so what is left of them is too.
void clip_gradient(const std::vector<at::Tensor>& parameters, double largest_norm);

/// The optimizer's tensors by name ("3.momentum_buffer", "3.exp_avg", "3.step"), parameters counted in their order; and back, exactly.
/// Loading throws DataError naming `where` and the tensor if one is missing, left over, or of another shape or dtype; no tensors at all are the
/// state before the first step.
io::NamedTensors optimizer_state(const torch::optim::Optimizer& optimizer);
void load_optimizer_state(torch::optim::Optimizer& optimizer, const io::NamedTensors& tensors, const std::string& where);

}  // namespace syncdr::training
