#include "syncdr/nn/weights.h"

#include <torch/nn/module.h>
#include <torch/utils.h>

#include "syncdr/core/error.h"
#include "syncdr/core/some_of.h"
#include "syncdr/io/hash.h"

namespace syncdr::nn {
namespace {

std::string shape_text(const at::Tensor& tensor) { return fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")); }

// The names of `named` that `others` lacks.
std::string names_missing_in(const io::NamedTensors& named, const io::NamedTensors& others) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : named) {
    if (!others.contains(name)) names.push_back('"' + name + '"');
  }
  return core::some_of(names);
}

void check_names(const io::NamedTensors& state, const io::NamedTensors& tensors, const std::string& where) {
  const std::string missing = names_missing_in(state, tensors), left_over = names_missing_in(tensors, state);
  if (missing.empty() && left_over.empty()) return;
  const char* hint = "These are weights of another model, of another configuration of it, or in types that are not read, as quantised ones.";
  if (left_over.empty()) throw core::DataError("{}: {} missing. {}", where, missing, hint);
  if (missing.empty()) throw core::DataError("{}: {} not known to the model. {}", where, left_over, hint);
  throw core::DataError("{}: {} missing, {} not known to the model. {}", where, missing, left_over, hint);
}

void check_tensor(const std::string& name, const at::Tensor& ours, const at::Tensor& theirs, const std::string& where) {
  if (ours.sizes() != theirs.sizes()) {
    throw core::DataError("{}: \"{}\" has shape {}, the model needs {}", where, name, shape_text(theirs), shape_text(ours));
  }
  // Integers in a weight's place are quantised; without their scale they would load as other weights.
  if (ours.is_floating_point() != theirs.is_floating_point()) {
    throw core::DataError("{}: \"{}\" holds {}, the model needs {}", where, name, c10::toString(theirs.scalar_type()), c10::toString(ours.scalar_type()));
  }
}

// All is checked before the first change: a module is loaded or untouched.
io::NamedTensors checked_state(const torch::nn::Module& module, const io::NamedTensors& tensors, const std::string& where) {
  io::NamedTensors state = state_of(module);
  check_names(state, tensors, where);
  for (const auto& [name, ours] : state) check_tensor(name, ours, tensors.at(name), where);
  return state;
}

}  // namespace

io::NamedTensors state_of(const torch::nn::Module& module) {
  io::NamedTensors state;
  for (const auto& item : module.named_parameters()) state.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value());
  return state;
}

void load_state(torch::nn::Module& module, const io::NamedTensors& tensors, const std::string& where) {
  const io::NamedTensors state = checked_state(module, tensors, where);
  const torch::NoGradGuard no_grad;
  for (const auto& [name, ours] : state) ours.copy_(tensors.at(name));
}

void adopt_state(torch::nn::Module& module, io::NamedTensors tensors, const std::string& where, c10::ScalarType dtype) {
  for (const auto& [name, ours] : checked_state(module, tensors, where)) {
    const at::Tensor theirs = tensors.extract(name).mapped();
    const auto layout = theirs.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    const bool fits = !theirs.is_floating_point() || theirs.scalar_type() == dtype;
    ours.set_data(fits ? theirs : theirs.to(dtype, /*non_blocking=*/false, /*copy=*/false, layout));
  }
}

void make_channels_last(torch::nn::Module& module) {
  for (at::Tensor& parameter : module.parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.detach().contiguous(at::MemoryFormat::ChannelsLast));
  }
}

int64_t parameter_count(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const at::Tensor& parameter : module.parameters()) count += parameter.numel();
  return count;
}

std::string state_hash(const torch::nn::Module& module) {
  std::string lines;
  for (const auto& [name, tensor] : state_of(module)) {
    const at::Tensor bytes = tensor.detach().cpu().contiguous();
    const std::string_view view(static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes());
    lines += fmt::format("{} {} {} {}\n", name, c10::toString(tensor.scalar_type()), shape_text(tensor), io::hash128(view));
  }
  return io::hash128(lines);
}

}  // namespace syncdr::nn
