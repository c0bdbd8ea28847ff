#pragma once
#include <torch/optim/optimizer.h>

#include <memory>
#include <string>
#include <vector>

#include "syncdr/io/safetensors.h"
#include "syncdr/training/optimizer_config.h"

namespace syncdr::training {

/// PyTorch's optimizers; epsilon 1e-8. Throws UsageError on an unknown name, or betas that are not two values below 1.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(std::vector<at::Tensor> parameters, const OptimizerConfig& config);

/// The learning rate of step (0-based) out of steps. one_cycle: half a cosine up from 1/25 of the largest, then half a cosine down to 1/250,000 of it
/// (Smith and Topin, 2017; PyTorch's OneCycleLR without its cycle of momentum); cosine: half a cosine towards 0 after the last step (PyTorch's
/// CosineAnnealingLR); linear: constant for the first half, then straight towards 0 after the last step (CUT).
double learning_rate_at(const OptimizerConfig& config, int64_t step, int64_t steps);
void set_learning_rate(torch::optim::Optimizer& optimizer, double rate);

/// The optimizer's tensors by name ("3.momentum_buffer", "3.exp_avg", "3.step"), parameters counted in their order; and back, exactly.
/// Loading throws DataError naming `where` and the tensor if one is missing, left over, or of another shape or dtype; no tensors at all are the
/// state before the first step.
io::NamedTensors optimizer_state(const torch::optim::Optimizer& optimizer);
void load_optimizer_state(torch::optim::Optimizer& optimizer, const io::NamedTensors& tensors, const std::string& where);

}  // namespace syncdr::training
