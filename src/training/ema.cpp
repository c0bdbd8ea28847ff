#include "syncdr/training/ema.h"

#include <ATen/ops/_foreach_lerp.h>
#include <torch/nn/module.h>
#include <torch/utils.h>

#include "syncdr/core/error.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"

namespace syncdr::training {

Ema::Ema(const torch::nn::Module& module, double decay) : decay_(decay) {
  if (decay < 0 || decay >= 1) throw core::UsageError("decay {} of a moving average: needs a value from 0 to below 1", decay);
  for (const auto& [name, tensor] : nn::state_of(module)) average_.emplace(name, tensor.detach().clone());
}

void Ema::update(const torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  const auto n = static_cast<double>(updates_);
  const double decay = std::min(decay_, (1 + n) / (10 + n));
  std::vector<at::Tensor> averages, weights;  // one fused call on a GPU instead of one a tensor
  for (const auto& [name, tensor] : nn::state_of(module)) {
    const auto found = average_.find(name);
    SYNCDR_ASSERT(found != average_.end() && found->second.sizes() == tensor.sizes(), "\"{}\" is not what the average was made for", name);
    if (!tensor.is_floating_point()) {
      found->second.copy_(tensor);
      continue;
    }
    averages.push_back(found->second);
    weights.push_back(tensor.detach());
  }
  if (!averages.empty()) at::_foreach_lerp_(averages, weights, 1 - decay);
  ++updates_;
}

void Ema::load(const io::NamedTensors& average, int64_t updates, const std::string& where) {
  if (updates < 0) throw core::DataError("{}: a moving average of {} updates", where, updates);
  for (const auto& [name, ours] : average_) {
    const auto found = average.find(name);
    if (found == average.end()) throw core::DataError("{}: \"{}\" of the moving average missing", where, name);
    const at::Tensor& theirs = found->second;
    if (theirs.sizes() != ours.sizes() || theirs.scalar_type() != ours.scalar_type()) {
      throw core::DataError("{}: \"{}\" of the moving average is {} [{}], the model needs {} [{}]", where, name, c10::toString(theirs.scalar_type()),
                            fmt::join(theirs.sizes(), ", "), c10::toString(ours.scalar_type()), fmt::join(ours.sizes(), ", "));
    }
  }
  for (const auto& [name, tensor] : average) {
    if (!average_.contains(name)) throw core::DataError("{}: \"{}\" of the moving average not known to the model", where, name);
  }
  for (auto& [name, ours] : average_) ours.copy_(average.at(name));
  updates_ = updates;
}

void put_average(Checkpoint& checkpoint, const std::optional<Ema>& ema) {
  if (ema) put_prefix(checkpoint.tensors, ema->average(), "ema.");
  checkpoint.state["ema_updates"] = ema ? ema->updates() : 0;
}

void take_average(const Checkpoint& checkpoint, std::optional<Ema>& ema, const std::string& where) {
  if (ema) ema->load(take_prefix(checkpoint.tensors, "ema."), io::json_int(checkpoint.state, "ema_updates", where), where);
}

}  // namespace syncdr::training
