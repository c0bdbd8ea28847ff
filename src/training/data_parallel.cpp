#include "syncdr/training/data_parallel.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <torch/nn/module.h>
#include <torch/utils.h>

#include <map>

#include "syncdr/core/error.h"

namespace syncdr::training {
namespace {

void broadcast_state(comm::World& world, const torch::nn::Module& module) {
  if (world.size() == 1) return;
  const torch::NoGradGuard no_grad;
  std::map<at::ScalarType, std::vector<at::Tensor>> by_type;
  for (const at::Tensor& tensor : module.parameters()) by_type[tensor.scalar_type()].push_back(tensor);
  for (const at::Tensor& tensor : module.buffers()) by_type[tensor.scalar_type()].push_back(tensor);
  // One flat message a dtype: hundreds of small broadcasts would cost a round trip each.
  for (const auto& [type, tensors] : by_type) {
    std::vector<at::Tensor> pieces;
    for (const at::Tensor& tensor : tensors) pieces.push_back(tensor.detach().reshape({-1}));
    at::Tensor flat = at::cat(pieces);
    world.broadcast(flat, 0, "sending rank 0's weights to all ranks");
    int64_t offset = 0;
    for (const at::Tensor& tensor : tensors) {
      tensor.copy_(flat.narrow(0, offset, tensor.numel()).view(tensor.sizes()));
      offset += tensor.numel();
    }
  }
}

std::vector<at::Tensor> trained_parameters(const torch::nn::Module& module) {
  std::vector<at::Tensor> trained;
  for (const at::Tensor& parameter : module.parameters()) {
    if (parameter.requires_grad()) trained.push_back(parameter);
  }
  return trained;
}

}  // namespace

DataParallel::DataParallel(comm::World& world, torch::nn::Module& module)
    : world_(world), parameters_((broadcast_state(world, module), trained_parameters(module))), reducer_(world, parameters_) {}

void DataParallel::before_forward() { reducer_.before_forward(); }

void DataParallel::backward(const at::Tensor& share_of_loss) {
  backward_in_parts(1, [&](int64_t) { return share_of_loss; });
}

void DataParallel::backward_in_parts(int64_t parts, const std::function<at::Tensor(int64_t part)>& share_of) {
  // Without a gradient the backward pass sets one instead of adding to it: no pass over memory to clear the old.
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad() = at::Tensor();
  for (int64_t part = 0; part < parts; ++part) {
    const at::Tensor share = share_of(part);
    SYNCDR_ASSERT(share.numel() == 1, "a loss has one value, this one {}", share.numel());
    if (part + 1 == parts) reducer_.before_backward();  // until then it leaves gradients where they are, to be added to
    // The reducer averages over ranks, shares are to be summed.
    (world_.size() == 1 ? share : share * world_.size()).backward();
  }
}

nn::SumOverRanks sum_over_ranks(comm::World& world) {
  if (world.size() == 1) return {};
  return [&world](at::Tensor& tensor) { world.all_reduce_sum(tensor, "batch normalisation over all ranks"); };
}

}  // namespace syncdr::training
