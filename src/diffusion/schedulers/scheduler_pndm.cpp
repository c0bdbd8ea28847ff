#include <ATen/TensorOperators.h>

#include <utility>

#include "scheduler_config.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

/// Pseudo numerical methods (Liu et al., ICLR 2022): linear multistep over the last four noise estimates. The first three steps are either
/// pseudo Runge-Kutta ones of four calls each, or (skip_prk_steps, as all of Stable Diffusion) multistep ones of rising order, the first of
/// them repeated.
class Pndm : public Scheduler {
 public:
  Pndm(ScheduleConfig config, ConfigReader& reader)
      : Scheduler(std::move(config)), runge_kutta_(!reader.boolean("skip_prk_steps", false)),
        final_alpha_(reader.boolean("set_alpha_to_one", false) ? 1 : alphas_cumprod()[0]) {}

  void reset() override {
    calls_ = 0;
    outputs_.clear();
    sum_.reset();
    held_sample_.reset();
  }

 private:
  static constexpr int64_t order = 4;
  static constexpr int64_t runge_kutta_calls = 12;

  std::vector<double> plan(int64_t count) override {
    const std::vector<double> times = whole_times(config(), count);
    if (runge_kutta_) return with_runge_kutta(times, count);
    // a b c ... -> a b b c ...: the first step is done again with the mean of its two ends.
    std::vector<double> calls(times);
    if (calls.size() > 1) calls.insert(calls.begin() + 1, calls[1]);
    return calls;
  }

  /// Each of the first three steps is called at its start, twice at its middle and at its end.
  std::vector<double> with_runge_kutta(const std::vector<double>& times, int64_t count) const {
    if (times.size() < size_t(order)) throw core::UsageError("{}: {} steps; with \"skip_prk_steps\": false it needs at least {}", name(), count, order);
    const double half = double(train_steps() / count / 2);
    std::vector<double> calls;
    for (size_t step = 0; step + 1 < size_t(order); ++step)
      for (const double time : {times[step], times[step + 1] + half, times[step + 1] + half, times[step + 1]}) calls.push_back(time);
    calls.insert(calls.end(), times.begin() + order - 1, times.end());
    return calls;
  }

  void check_late_start(int64_t start) const override {
    if (!runge_kutta_) return;
    throw core::UsageError(
        "{}: with \"skip_prk_steps\": false, its class's default, it cannot begin at call {} of {}: the Runge-Kutta calls are of other "
        "times then. Take all steps (strength 1), set \"skip_prk_steps\": true in the checkpoint's scheduler_config.json, or set "
        "translate.diffusion.scheduler=DDIMScheduler, or one of {}",
        name(), start, timesteps().size(), fmt::join(sampler_names(), ", "));
  }

  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor&) override {
    // What a call does depends on how many there were, not on i: image to image begins in the middle.
    const bool in_runge_kutta = runge_kutta_ && calls_ < runge_kutta_calls;
    at::Tensor next = in_runge_kutta ? runge_kutta_step(output, i, sample) : multistep(output, i, sample);
    ++calls_;
    return next;
  }

  at::Tensor runge_kutta_step(const at::Tensor& output, int64_t i, const at::Tensor& sample) {
    const int64_t part = calls_ % 4, target = time(i) - (part % 2 ? 0 : stride() / 2);
    at::Tensor direction = output;
    if (part == 0) {
      sum_ = (1.0 / 6) * output;
      outputs_.push_back(output);
      held_sample_ = sample;
    } else if (part == 3) {
      direction = sum_ + (1.0 / 6) * output;
    } else {
      sum_ = sum_ + (1.0 / 3) * output;
    }
    return transfer(held_sample_, time(calls_ / 4 * 4), target, direction);
  }

  at::Tensor multistep(const at::Tensor& output, int64_t i, const at::Tensor& sample) {
    if (calls_ == 1) {
      // The second call repeats the first step: from its held start, with the mean of both estimates.
      return transfer(std::exchange(held_sample_, at::Tensor()), time(i) + stride(), time(i), (output + outputs_.back()) / 2.0);
    }
    if (outputs_.size() == size_t(order)) outputs_.erase(outputs_.begin());
    outputs_.push_back(output);
    if (calls_ == 0) held_sample_ = sample;
    return transfer(sample, time(i), time(i) - stride(), extrapolated());
  }

  /// Adams-Bashforth of as many estimates as there are.
  at::Tensor extrapolated() const {
    const auto last = [&](size_t back) -> const at::Tensor& { return outputs_[outputs_.size() - back]; };
    if (outputs_.size() == 1) return last(1);
    if (outputs_.size() == 2) return (3.0 * last(1) - last(2)) / 2.0;
    if (outputs_.size() == 3) return (23.0 * last(1) - 16.0 * last(2) + 5.0 * last(3)) / 12.0;
    return (1.0 / 24) * (55.0 * last(1) - 59.0 * last(2) + 37.0 * last(3) - 9.0 * last(4));
  }

  /// Equation 9: the sample moved from one time to another along a noise estimate.
  at::Tensor transfer(const at::Tensor& sample, int64_t from, int64_t to, at::Tensor direction) const {
    if (from >= train_steps())
      throw core::UsageError("{}: this step begins at timestep {}, above the last one trained, {}. Take other steps", name(), from, train_steps() - 1);
    const float now = alphas_cumprod()[size_t(from)], next = to >= 0 ? alphas_cumprod()[size_t(to)] : final_alpha_;
    const float noise_now = 1 - now, noise_next = 1 - next;  // variances
    if (prediction() == Prediction::v_prediction) direction = double(root(now)) * direction + double(root(noise_now)) * sample;
    const double scale = root(next / now), divisor = now * root(noise_next) + root(now * noise_now * next);
    return scale * sample - double(next - now) * direction / divisor;
  }

  bool runge_kutta_;
  float final_alpha_;
  int64_t calls_ = 0;
  std::vector<at::Tensor> outputs_;  // the last four at most, oldest first
  at::Tensor sum_, held_sample_;
};

}  // namespace

std::unique_ptr<Scheduler> make_pndm(ConfigReader& config) {
  const ScheduleTraits traits{.name = "PNDMScheduler", .spacing = "leading", .predictions = {"epsilon", "v_prediction"}};
  return std::make_unique<Pndm>(read_schedule(config, traits), config);
}

}  // namespace syncdr::diffusion
