#include <ATen/TensorOperators.h>

#include <cmath>
#include <limits>

#include "scheduler_config.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

struct DpmConfig {
  int64_t order = 2;
  bool lower_order_final = true, euler_at_final = false, end_at_training = false, round_times = true;
  double least_lambda = 0;
  SigmaSpread spread = SigmaSpread::by_time;
};

/// DPM-Solver++, multistep, of order 1 or 2 by the midpoint rule (Lu et al., "DPM-Solver++", 2022), on the prediction of x_0.
class DpmMultistep : public Scheduler {
 public:
  DpmMultistep(ScheduleConfig schedule, DpmConfig config) : Scheduler(std::move(schedule)), config_(config), training_(training_sigmas(alphas_cumprod())) {}

  void reset() override { previous_.reset(); }

 private:
  /// Of one call: the noise level before it, and x_next = shrink x - gain x_0 - gain / 2 slope (x_0 - previous x_0).
  struct Coefficients {
    Level level;
    float shrink, gain, slope;
  };

  std::vector<double> plan(int64_t count) override {
    std::vector<double> times = spaced(count), sigmas;
    if (config_.spread == SigmaSpread::by_time) {
      for (const double time : times) sigmas.push_back(interpolate(training_, time));
    } else {
      sigmas = spread_sigmas(config_.spread, training_.back(), training_.front(), count);
      times = times_of_sigmas(sigmas, training_);
      if (config_.round_times) times = rounded(times);
      for (double& time : times) time = std::trunc(time);
    }
    sigmas.push_back(config_.end_at_training ? training_.front() : 0);
    keep(std::vector<float>(sigmas.begin(), sigmas.end()));
    return times;
  }

  /// The number of training times whose lambda = log(signal / std) is not below the least allowed.
  int64_t usable_times() const {
    int64_t usable = train_steps();
    while (usable > 0 && lambda_of(Scheduler::level_of_time(usable - 1)) < float(config_.least_lambda)) --usable;
    return usable;
  }

  /// One more than asked for, less the lowest: unlike other classes this one stops short of time 0.
  std::vector<double> spaced(int64_t count) const {
    const int64_t usable = usable_times();
    if (usable < 2) throw core::UsageError("{}: \"lambda_min_clipped\": {} leaves {} timesteps", name(), config_.least_lambda, usable);
    if (config().spacing == "trailing") {
      std::vector<double> times = rounded(arange_down(double(usable), double(train_steps()) / double(count)));
      for (double& time : times) time -= 1;
      return times;
    }
    std::vector<double> times = rounded(spaced_times(config().spacing, usable, count + 1, config().offset));
    times.pop_back();
    return times;
  }

  void keep(const std::vector<float>& sigmas) {
    coefficients_.clear();
    float lambda_before = 0;
    for (size_t i = 0; i + 1 < sigmas.size(); ++i) {
      const Level now = level_of(sigmas[i]), next = level_of(sigmas[i + 1]);
      const float lambda = lambda_of(now), h = lambda_of(next) - lambda;
      const float ratio = (lambda - lambda_before) / h;  // r_0; unused at i = 0
      // The original divides by this ratio all the same, and returns NaN.
      if (config_.order == 2 && i > 0 && lambda == lambda_before)
        throw core::UsageError("{}: so many steps with {} spacing that two are at one timestep. Take fewer", name(), config().spacing);
      coefficients_.push_back({now, next.std / now.std, next.signal * (exp_of(-h) - 1), 1 / ratio});
      lambda_before = lambda;
    }
  }

  static Level level_of(float sigma) {
    const float signal = 1 / root(sigma * sigma + 1);
    return {signal, sigma * signal};
  }
  static float lambda_of(const Level& level) { return log_of(level.signal) - log_of(level.std); }
  Level level_of_step(int64_t i) const override { return coefficients_[size_t(i)].level; }
  Level level_of_time(int64_t time) const override { return level_of(training_[size_t(time)]); }

  /// x_0 as the output implies it.
  at::Tensor original(const at::Tensor& output, const at::Tensor& sample, const Level& level) const {
    const double signal = level.signal, std = level.std;
    if (prediction() == Prediction::sample) return output;
    if (prediction() == Prediction::epsilon) return (sample - std * output) / signal;
    return signal * sample - std * output;
  }

  bool first_order(int64_t i) const {
    const auto calls = int64_t(coefficients_.size());
    const bool careful_end = config_.euler_at_final || (config_.lower_order_final && calls < 15) || !config_.end_at_training;
    return config_.order == 1 || !previous_.defined() || (i == calls - 1 && careful_end);
  }

  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor&) override {
    const Coefficients& now = coefficients_[size_t(i)];
    const at::Tensor clean = original(output, sample, now.level);
    at::Tensor next = double(now.shrink) * sample.to(at::kFloat) - double(now.gain) * clean;
    if (!first_order(i)) next = next - 0.5 * double(now.gain) * (double(now.slope) * (clean - previous_));
    previous_ = clean;
    return next.to(clean.scalar_type());
  }

  DpmConfig config_;
  std::vector<float> training_;             // [T] sigmas
  std::vector<Coefficients> coefficients_;  // one per call
  at::Tensor previous_;                     // the last call's x_0
};

/// Options of the original that change the method or the grid and are not supported.
void refuse_others(ConfigReader& config) {
  refuse_thresholding(config);
  // All but the first word of each list are other classes'; the original takes them for the first, so that configurations can be exchanged.
  read_choice(config, "algorithm_type", "dpmsolver++", {"dpmsolver++", "deis"});
  read_choice(config, "solver_type", "midpoint", {"midpoint", "logrho", "bh1", "bh2"});
  config.only("use_lu_lambdas", false);
  config.only("use_flow_sigmas", false);
  config.only("use_dynamic_shifting", false);
  config.ignore("flow_shift time_shift_type");  // of these two
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
  dpm.spread = read_sigma_spread(config);
  // The original rounds times of Karras sigmas, unless the schedule is the cosine's, and truncates those of exponential ones.
  dpm.round_times = dpm.spread == SigmaSpread::karras && config.text("beta_schedule", "linear") != "squaredcos_cap_v2";
  const ScheduleTraits traits{.name = "DPMSolverMultistepScheduler", .can_rescale = true, .divides_by_alpha = true};
  return std::make_unique<DpmMultistep>(read_schedule(config, traits), dpm);
}

}  // namespace syncdr::diffusion
