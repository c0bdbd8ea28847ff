#include "syncdr/training/optimizer.h"

#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <numbers>

#include "gradients.h"
#include "syncdr/core/error.h"

namespace syncdr::training {
namespace {

namespace optim = torch::optim;

std::tuple<double, double> betas_of(const OptimizerConfig& config) {
  const auto& betas = config.betas;
  if (betas.size() != 2 || betas[0] >= 1 || betas[1] >= 1) {
    throw core::UsageError("optimizer.betas = [{}]: needs two values, both below 1", fmt::join(betas, ", "));
  }
  return {betas[0], betas[1]};
}

// Half a cosine from `from` at share 0 to `to` at share 1.
double cosine_between(double from, double to, double share) { return to + (from - to) / 2 * (std::cos(std::numbers::pi * share) + 1); }

double one_cycle(double largest, double warmup, double step, double steps) {
  const double first = largest / 25, last = first / 1e4;
  // PyTorch ends the rise at this step, a fraction that may be negative; an end at exactly 0 would divide by zero there.
  const double peak = warmup * steps - 1;
  if (step <= peak && peak > 0) return cosine_between(first, largest, step / peak);
  const double fall = steps - 1 - peak;
  return fall > 0 ? cosine_between(largest, last, (step - peak) / fall) : largest;
}

// CUT's rule: constant, then one equal step down at each step, so that the step after the last would have 0.
double linear(double largest, int64_t step, int64_t steps) {
  const int64_t constant = steps / 2;
  const auto down = static_cast<double>(std::max<int64_t>(0, step + 1 - constant));
  return largest * (1 - down / static_cast<double>(steps - constant + 1));
}

// Names as in PyTorch's state_dict.
void put_state(io::NamedTensors& into, const std::string& prefix, const optim::OptimizerParamState& state) {
  const auto put = [&](const char* name, const at::Tensor& tensor) { into.emplace(prefix + name, tensor); };
  const auto put_adam = [&](const auto& adam) {
    put("exp_avg", adam.exp_avg());
    put("exp_avg_sq", adam.exp_avg_sq());
    put("step", at::scalar_tensor(adam.step(), at::kLong));
  };
  if (const auto* sgd = dynamic_cast<const optim::SGDParamState*>(&state)) return put("momentum_buffer", sgd->momentum_buffer());
  if (const auto* adam = dynamic_cast<const optim::AdamParamState*>(&state)) return put_adam(*adam);
  if (const auto* adamw = dynamic_cast<const optim::AdamWParamState*>(&state)) return put_adam(*adamw);
  SYNCDR_ASSERT(false, "an optimizer that this file does not make");
}

// The tensors of one parameter as they were saved, taken out of `rest` one by one.
struct StateReader {
  io::NamedTensors& rest;
  std::string prefix;  // "3."
  const at::Tensor& parameter;
  const std::string& where;

  at::Tensor take(const char* name, at::IntArrayRef shape, at::ScalarType type) const {
    const auto node = rest.extract(prefix + name);
    if (node.empty()) {
      throw core::DataError("{}: optimizer state \"{}{}\" missing. It was saved by another optimizer or for another model.", where, prefix, name);
    }
    const at::Tensor saved = node.mapped();
    if (saved.sizes() == shape && saved.scalar_type() == type) return saved;
    throw core::DataError("{}: optimizer state \"{}{}\" is {} [{}], the optimizer needs {} [{}]", where, prefix, name, c10::toString(saved.scalar_type()),
                          fmt::join(saved.sizes(), ", "), c10::toString(type), fmt::join(shape, ", "));
  }
  /// A copy of the saved tensor on the parameter's device, in its memory layout.
  at::Tensor like_parameter(const char* name) const { return at::empty_like(parameter).copy_(take(name, parameter.sizes(), parameter.scalar_type())); }
  int64_t count(const char* name) const { return take(name, {}, at::kLong).item<int64_t>(); }
};

template <class State> std::unique_ptr<optim::OptimizerParamState> read_adam(const StateReader& reader) {
  auto state = std::make_unique<State>();
  state->exp_avg(reader.like_parameter("exp_avg"));
  state->exp_avg_sq(reader.like_parameter("exp_avg_sq"));
  state->step(reader.count("step"));
  return state;
}

// SGD without momentum has none.
bool has_state(const optim::Optimizer& optimizer) {
  const auto* sgd = dynamic_cast<const optim::SGDOptions*>(&optimizer.defaults());
  return sgd == nullptr || sgd->momentum() != 0;
}

std::unique_ptr<optim::OptimizerParamState> read_state(const optim::Optimizer& optimizer, const StateReader& reader) {
  if (dynamic_cast<const optim::AdamOptions*>(&optimizer.defaults())) return read_adam<optim::AdamParamState>(reader);
  if (dynamic_cast<const optim::AdamWOptions*>(&optimizer.defaults())) return read_adam<optim::AdamWParamState>(reader);
  auto state = std::make_unique<optim::SGDParamState>();
  state->momentum_buffer(reader.like_parameter("momentum_buffer"));
  return state;
}

std::unique_ptr<optim::Optimizer> make_engine(std::vector<optim::OptimizerParamGroup> parts, const OptimizerConfig& config) {
  if (config.name == "sgd") {
    return std::make_unique<optim::SGD>(std::move(parts), optim::SGDOptions(config.learning_rate).momentum(config.momentum).weight_decay(config.weight_decay));
  }
  const auto adam = [&](auto options) { return options.betas(betas_of(config)).weight_decay(config.weight_decay); };
  if (config.name == "adam") return std::make_unique<optim::Adam>(std::move(parts), adam(optim::AdamOptions(config.learning_rate)));
  if (config.name == "adamw") return std::make_unique<optim::AdamW>(std::move(parts), adam(optim::AdamWOptions(config.learning_rate)));
  throw core::UsageError("optimizer.name = \"{}\": use sgd, adam or adamw", config.name);
}

void check_warmup(const OptimizerConfig& config) {
  if (config.schedule != "one_cycle" || config.warmup_steps == 0) return;
  throw core::UsageError("optimizer.warmup_steps = {}: one_cycle rises by itself, in the share of the steps that optimizer.warmup says. Use 0",
                         config.warmup_steps);
}

}  // namespace

std::unique_ptr<optim::Optimizer> make_optimizer(const std::vector<ParameterGroup>& groups, const OptimizerConfig& config) {
  check_warmup(config);
  std::vector<optim::OptimizerParamGroup> parts;
  for (const ParameterGroup& group : groups) parts.emplace_back(group.parameters);
  std::unique_ptr<optim::Optimizer> optimizer = make_engine(std::move(parts), config);
  set_learning_rate(*optimizer, config.learning_rate, groups);
  return optimizer;
}

std::unique_ptr<optim::Optimizer> make_optimizer(std::vector<at::Tensor> parameters, const OptimizerConfig& config) {
  return make_optimizer(std::vector<ParameterGroup>{{.parameters = std::move(parameters)}}, config);
}

double learning_rate_at(const OptimizerConfig& config, int64_t step, int64_t steps) {
  SYNCDR_ASSERT(step >= 0 && step < steps, "step {} of {}", step, steps);
  check_warmup(config);
  const double rate = config.learning_rate;
  if (step < config.warmup_steps) return rate * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps + 1);
  step -= config.warmup_steps, steps -= config.warmup_steps;
  const auto now = static_cast<double>(step), all = static_cast<double>(steps);
  if (config.schedule == "constant") return rate;
  if (config.schedule == "cosine") return cosine_between(rate, rate * config.floor, now / all);
  if (config.schedule == "one_cycle") return one_cycle(rate, config.warmup, now, all);
  if (config.schedule == "linear") return linear(rate, step, steps);
  throw core::UsageError("optimizer.schedule = \"{}\": use constant, cosine, one_cycle or linear", config.schedule);
}

void set_learning_rate(optim::Optimizer& optimizer, double rate, const std::vector<ParameterGroup>& groups) {
  auto& parts = optimizer.param_groups();
  SYNCDR_ASSERT(groups.empty() || groups.size() == parts.size(), "rates of {} groups for an optimizer of {}", groups.size(), parts.size());
  for (size_t k = 0; k < parts.size(); ++k) parts[k].options().set_lr(groups.empty() ? rate : rate * groups[k].rate);
}

void clip_gradient(const std::vector<at::Tensor>& parameters, double largest_norm) {
  if (largest_norm <= 0) return;
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = gradients_of(parameters);
  if (gradients.empty()) return;
  const at::Tensor norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients)));
  at::_foreach_mul_(gradients, (largest_norm / (norm + 1e-6)).clamp_max(1));
}

io::NamedTensors optimizer_state(const optim::Optimizer& optimizer) {
  io::NamedTensors all;
  size_t index = 0;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (found != optimizer.state().end()) put_state(all, fmt::format("{}.", index), *found->second);
      ++index;
    }
  }
  return all;
}

void load_optimizer_state(optim::Optimizer& optimizer, const io::NamedTensors& tensors, const std::string& where) {
  io::NamedTensors rest = tensors;
  std::remove_reference_t<decltype(optimizer.state())> loaded;
  size_t index = 0;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (tensors.empty() || !has_state(optimizer)) break;  // none: the state before the first step
      const StateReader reader{rest, fmt::format("{}.", index++), parameter, where};
      loaded[parameter.unsafeGetTensorImpl()] = read_state(optimizer, reader);
    }
  }
  if (!rest.empty()) throw core::DataError("{}: optimizer state \"{}\" not known to the optimizer", where, rest.begin()->first);
  optimizer.state() = std::move(loaded);
}

}  // namespace syncdr::training
