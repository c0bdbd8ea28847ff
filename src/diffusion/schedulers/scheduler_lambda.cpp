#include "scheduler_lambda.h"

#include <cmath>

#include "syncdr/core/error.h"

namespace syncdr::diffusion {

LambdaScheduler::LambdaScheduler(ScheduleConfig schedule, const LambdaGrid& grid)
    : Scheduler(std::move(schedule)), grid_(grid), training_(training_sigmas(alphas_cumprod())) {}

std::vector<double> LambdaScheduler::plan(int64_t count) {
  std::vector<double> times = spaced(count), sigmas;
  const auto& [spread, low, high] = grid_.sigmas;
  if (spread == SigmaSpread::by_time) {
    for (const double time : times) sigmas.push_back(interpolate(training_, time));
    sigmas.push_back(last_sigma(training_.front()));
  } else {
    sigmas = spread_sigmas(spread, high > 0 ? high : training_.back(), low > 0 ? low : training_.front(), count);
    times = times_of_sigmas(sigmas, training_);
    if (spread == SigmaSpread::karras && grid_.round_karras) times = rounded(times);
    for (double& time : times) time = std::trunc(time);
    sigmas.push_back(last_sigma(sigmas.back()));
  }
  levels_.clear();
  lambdas_.clear();
  for (const double value : sigmas) {
    levels_.push_back(level_of(float(value)));
    lambdas_.push_back(lambda_of(levels_.back()));
  }
  // The original divides by the difference all the same, and returns NaN.
  for (int64_t i = 1; i < calls(); ++i)
    if (lambda(i) == lambda(i - 1))
      throw core::UsageError("{}: so many steps with {} spacing that two are at one timestep. Take fewer", name(), config().spacing);
  return times;
}

std::vector<double> LambdaScheduler::spaced(int64_t count) const {
  const int64_t usable = usable_times();
  if (config().spacing == "trailing") {
    std::vector<double> times = rounded(arange_down(double(usable), double(train_steps()) / double(count)));
    for (double& time : times) time -= 1;
    return times;
  }
  std::vector<double> times = rounded(spaced_times(config().spacing, usable, count + 1, config().offset));
  times.pop_back();
  return times;
}

Scheduler::Level LambdaScheduler::level_of(float sigma) {
  const float signal = 1 / root(sigma * sigma + 1);
  return {signal, sigma * signal};
}

Scheduler::Level LambdaScheduler::level_of_time(int64_t time) const { return level_of(training_[size_t(time)]); }

void refuse_flow(ConfigReader& config) {
  config.only("use_flow_sigmas", false);
  config.only("use_dynamic_shifting", false);
  config.ignore("flow_shift time_shift_type shift_terminal");  // of these two
}

}  // namespace syncdr::diffusion
