#include <ATen/TensorOperators.h>

#include <limits>

#include "scheduler_lambda.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

struct DpmConfig {
  int64_t order = 2;
  bool lower_order_final = true, euler_at_final = false, end_at_training = false;
  double least_lambda = 0;
};

/// DPM-Solver++, multistep, of order 1 or 2 by the midpoint rule (Lu et al., "DPM-Solver++", 2022), on the prediction of x_0.
class DpmMultistep : public LambdaScheduler {
 public:
  DpmMultistep(ScheduleConfig schedule, LambdaGrid grid, DpmConfig config) : LambdaScheduler(std::move(schedule), grid), config_(config) {}

  void reset() override { previous_.reset(); }

 private:
  double last_sigma(double) const override { return config_.end_at_training ? training_sigma(0) : 0; }

  int64_t usable_times() const override {
    int64_t usable = train_steps();
    while (usable > 0 && lambda_of(Scheduler::level_of_time(usable - 1)) < float(config_.least_lambda)) --usable;
    if (usable < 2) throw core::UsageError("{}: \"lambda_min_clipped\": {} leaves {} timesteps", name(), config_.least_lambda, usable);
    return usable;
  }

  bool first_order(int64_t i) const {
    const bool careful_end = config_.euler_at_final || (config_.lower_order_final && calls() < 15) || !config_.end_at_training;
    return config_.order == 1 || !previous_.defined() || (i == calls() - 1 && careful_end);
  }

  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor&) override {
    const Level now = level(i), next = level(i + 1);
    const float h = lambda(i + 1) - lambda(i), gain = next.signal * (exp_of(-h) - 1);
    const at::Tensor clean = original_of(output, sample, now);
    at::Tensor moved = double(next.std / now.std) * sample.to(at::kFloat) - double(gain) * clean;
    if (!first_order(i)) {
      const float ratio = (lambda(i) - lambda(i - 1)) / h;  // r_0
      moved = moved - 0.5 * double(gain) * (double(1 / ratio) * (clean - previous_));
    }
    previous_ = clean;
    return moved.to(clean.scalar_type());
  }

  DpmConfig config_;
  at::Tensor previous_;  // the last call's x_0
};

/// Options of the original that change the method or the grid and are not supported.
void refuse_others(ConfigReader& config) {
  refuse_thresholding(config);
  // All but the first word of each list are other classes'; the original takes them for the first, so that configurations can be exchanged.
  read_choice(config, "algorithm_type", "dpmsolver++", {"dpmsolver++", "deis"});
  read_choice(config, "solver_type", "midpoint", {"midpoint", "logrho", "bh1", "bh2"});
  config.only("use_lu_lambdas", false);
  refuse_flow(config);
  const std::string variance = config.text("variance_type", "");
  if (variance == "learned" || variance == "learned_range")
    config.refuse("variance_type", fmt::format("is \"{}\"; outputs with a variance are not supported", variance));
}

}  // namespace

std::unique_ptr<Scheduler> make_dpm_multistep(ConfigReader& config) {
  refuse_others(config);
  DpmConfig dpm;
  dpm.order = config.integer("solver_order", 2);
  if (dpm.order != 1 && dpm.order != 2) config.refuse("solver_order", fmt::format("is {}; 1 and 2 are supported", dpm.order));
  dpm.lower_order_final = config.boolean("lower_order_final", true);
  dpm.euler_at_final = config.boolean("euler_at_final", false);
  dpm.end_at_training = read_choice(config, "final_sigmas_type", "zero", {"zero", "sigma_min"}) == "sigma_min";
  dpm.least_lambda = config.number("lambda_min_clipped", -std::numeric_limits<double>::infinity());
  LambdaGrid grid{.sigmas = {.spread = read_sigma_spread(config)}};
  grid.round_karras = config.text("beta_schedule", "linear") != "squaredcos_cap_v2";
  const ScheduleTraits traits{.name = "DPMSolverMultistepScheduler", .can_rescale = true, .divides_by_alpha = true};
  return std::make_unique<DpmMultistep>(read_schedule(config, traits), grid, dpm);
}

}  // namespace syncdr::diffusion
