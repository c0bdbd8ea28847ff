#include "probe.h"
#include "syncdr/training/loss_scaler.h"
#include "syncdr/training/optimizer.h"

using namespace syncdr;

namespace {

training::OptimizerConfig config_from(const std::string& toml) {
  training::OptimizerConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  return config;
}

}  // namespace

SYNCDR_PROBE(learning_rates, "steps [] int64 -> rate [steps] float64, the learning rate of every step\nTOML: of an optimizer") {
  const auto steps = in.at("steps").item<int64_t>();
  const training::OptimizerConfig config = config_from(toml);
  at::Tensor rates = at::empty({steps}, at::kDouble);
  for (int64_t step = 0; step < steps; ++step) rates[step] = training::learning_rate_at(config, step, steps);
  return {{"rate", rates}};
}

SYNCDR_PROBE(optimize,
             "weight [...], gradients [steps, ...] -> weight [...] after those steps, and the optimizer's state (0.exp_avg, ...)\nTOML: of an optimizer") {
  const training::OptimizerConfig config = config_from(toml);
  at::Tensor weight = in.at("weight").clone().requires_grad_();
  const at::Tensor& gradients = in.at("gradients");
  const auto optimizer = training::make_optimizer({weight}, config);
  for (int64_t step = 0; step < gradients.size(0); ++step) {
    training::set_learning_rate(*optimizer, training::learning_rate_at(config, step, gradients.size(0)));
    weight.mutable_grad() = gradients[step].clone();
    training::clip_gradient({weight}, config.clip);
    optimizer->step();
  }
  io::NamedTensors out = training::optimizer_state(*optimizer);
  out["weight"] = weight.detach();
  return out;
}

SYNCDR_PROBE(scaled_steps,
             "weight [...] float, gradients [steps, ...] of its loss (weight * gradient).sum() -> weight after those steps with loss scaling and clipping, "
             "scale [steps] after each, skipped []\nTOML: of an optimizer") {
  const training::OptimizerConfig config = config_from(toml);
  at::Tensor weight = in.at("weight").clone().requires_grad_();
  const at::Tensor& gradients = in.at("gradients");
  const auto optimizer = training::make_optimizer({weight}, config);
  training::LossScaler scaler(true);
  at::Tensor scales = at::empty({gradients.size(0)}, at::kDouble);
  for (int64_t step = 0; step < gradients.size(0); ++step) {
    optimizer->zero_grad();
    scaler.scale((weight * gradients[step]).sum()).backward();
    if (scaler.unscale({weight})) {
      training::clip_gradient({weight}, config.clip);
      optimizer->step();
    }
    scales[step] = scaler.figures().at(0).second;
  }
  return {{"weight", weight.detach()}, {"scale", scales}, {"skipped", at::scalar_tensor(scaler.figures().at(1).second, at::kDouble)}};
}
