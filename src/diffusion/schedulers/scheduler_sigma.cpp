#include <ATen/TensorOperators.h>
#include <ATen/ops/linspace.h>

#include <algorithm>
#include <cmath>

#include "scheduler_config.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

/// Where the sigmas come from, beside the spacing.
struct Sigmas {
  SigmaRange range;
  bool log_linear = false;       ///< a geometric row over the whole training, of one more sigma
  bool end_at_training = false;  ///< the last sigma is the training's least, not 0
};

/// What LMS and the Euler methods share: samples are x_0 + sigma noise, of growing variance, and the network sees them divided to variance
/// 1 (Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022).
class SigmaScheduler : public Scheduler {
 public:
  explicit SigmaScheduler(ScheduleConfig config, Sigmas sigmas = {})
      : Scheduler(std::move(config)), how_(sigmas), training_(training_sigmas(alphas_cumprod())) {}

  double init_noise_sigma() const override {
    const float most = sigmas_.empty() ? training_.back() : *std::max_element(sigmas_.begin(), sigmas_.end());
    return config().spacing == "leading" ? root(most * most + 1) : most;
  }

  at::Tensor scale_model_input(const at::Tensor& sample, int64_t i) const override {
    const float now = sigma(sigma_index(i));
    return sample / double(root(now * now + 1));
  }

 protected:
  std::vector<double> plan(int64_t count) override {
    std::vector<double> times = as_float(spaced_times(config().spacing, train_steps(), count, config().offset));
    std::vector<double> sigmas = interpolated(times, count);
    if (const auto& [spread, low, high] = how_.range; spread != SigmaSpread::by_time) {
      sigmas = spread_sigmas(spread, high > 0 ? high : sigmas.front(), low > 0 ? low : sigmas.back(), count);
      times = as_float(times_of_sigmas(sigmas, training_));
    }
    sigmas.push_back(how_.end_at_training ? training_.front() : 0);
    sigmas_.assign(sigmas.begin(), sigmas.end());
    return times;
  }

  /// Which of the sigmas call i is made at.
  virtual int64_t sigma_index(int64_t call) const { return call; }
  Level level_of_step(int64_t i) const override { return {1, sigma(sigma_index(i))}; }
  Level level_of_time(int64_t time) const override { return {1, training_[size_t(time)]}; }

  /// The standard deviation before step i; after the last step: at i = number of steps.
  float sigma(int64_t i) const { return sigmas_[size_t(i)]; }

  /// x_0 as the output implies it at this sigma.
  at::Tensor original(const at::Tensor& output, const at::Tensor& sample, float sigma) const {
    if (prediction() == Prediction::sample) return output;
    if (prediction() == Prediction::epsilon) return sample - double(sigma) * output;
    const float variance = sigma * sigma + 1;
    return output * double(-sigma / root(variance)) + sample / double(variance);
  }

 private:
  std::vector<double> interpolated(const std::vector<double>& times, int64_t count) const {
    std::vector<double> sigmas;
    if (how_.log_linear) {
      const at::Tensor row = at::linspace(double(std::log(training_.back())), double(std::log(training_.front())), count + 1, at::kFloat).exp();
      sigmas.assign(row.const_data_ptr<float>(), row.const_data_ptr<float>() + row.numel());
    } else {
      for (const double time : times) sigmas.push_back(interpolate(training_, time));
    }
    return sigmas;
  }

  Sigmas how_;
  std::vector<float> training_;  // [T]
  std::vector<float> sigmas_;    // one more than calls
};

/// Linear multistep over the last four derivatives, with steps of any length.
class Lms : public SigmaScheduler {
 public:
  using SigmaScheduler::SigmaScheduler;

  void reset() override { derivatives_.clear(); }

 private:
  static constexpr int64_t order = 4;

  std::vector<double> plan(int64_t count) override {
    std::vector<double> times = SigmaScheduler::plan(count);
    weights_.clear();
    for (int64_t i = 0; i < int64_t(times.size()); ++i) {
      weights_.emplace_back();
      const int64_t used = std::min(i + 1, order);
      for (int64_t back = 0; back < used; ++back) weights_.back().push_back(integral(i, back, used));
    }
    return times;
  }

  /// The Lagrange polynomial that is 1 at sigma(i - back) and 0 at the others of the last `used`, integrated from sigma(i) to sigma(i + 1).
  /// Gauss's rule of two points is exact: the degree is three at most.
  double integral(int64_t i, int64_t back, int64_t used) const {
    const double from = sigma(i), to = sigma(i + 1), middle = (from + to) / 2, half = (to - from) / 2, offset = half / std::sqrt(3.0);
    double sum = 0;
    for (const double x : {middle - offset, middle + offset}) {
      double product = 1;
      for (int64_t other = 0; other < used; ++other)
        if (other != back) product *= (x - double(sigma(i - other))) / (double(sigma(i - back)) - double(sigma(i - other)));
      sum += product;
    }
    return sum * half;
  }

  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor&) override {
    derivatives_.insert(derivatives_.begin(), (sample - original(output, sample, sigma(i))) / double(sigma(i)));
    if (derivatives_.size() > size_t(order)) derivatives_.pop_back();
    // After a start in the middle there are fewer derivatives than weights; the original leaves out what is missing.
    const std::vector<double>& weights = weights_[size_t(i)];
    at::Tensor change = weights[0] * derivatives_[0];
    for (size_t back = 1; back < std::min(weights.size(), derivatives_.size()); ++back) change = change + weights[back] * derivatives_[back];
    return sample + change;
  }

  std::vector<std::vector<double>> weights_;  // [calls][up to four], the newest derivative's first
  std::vector<at::Tensor> derivatives_;       // up to four, newest first
};

/// Euler's method on the probability flow.
class Euler : public SigmaScheduler {
 public:
  using SigmaScheduler::SigmaScheduler;

 private:
  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor&) override {
    const at::Tensor wide = sample.to(at::kFloat);
    const at::Tensor derivative = (wide - original(output, wide, sigma(i))) / double(sigma(i));
    return (wide + derivative * double(sigma(i + 1) - sigma(i))).to(output.scalar_type());
  }
};

/// Euler's method to a lower sigma than the next one, and fresh noise up to it.
class EulerAncestral : public SigmaScheduler {
 public:
  using SigmaScheduler::SigmaScheduler;

  bool wants_noise() const override { return true; }

 private:
  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor& noise) override {
    const float from = sigma(i), to = sigma(i + 1), from2 = from * from, to2 = to * to;
    const float up = root(to2 * (from2 - to2) / from2), down = root(to2 - up * up);
    const at::Tensor wide = sample.to(at::kFloat);
    const at::Tensor derivative = (wide - original(output, wide, from)) / double(from);
    return (wide + derivative * double(down - from) + noise * double(up)).to(output.scalar_type());
  }
};

/// Heun's method on the probability flow (Karras et al., algorithm 1 without churn): each step but the last has a second call, at its end.
class Heun : public SigmaScheduler {
 public:
  Heun(ScheduleConfig config, const Sigmas& sigmas, double largest) : SigmaScheduler(std::move(config), sigmas), largest_(largest) {}

  void reset() override {
    held_sample_.reset();
    slope_.reset();
  }

 private:
  int64_t calls_per_step() const override { return 2; }

  std::vector<double> plan(int64_t count) override {
    std::vector<double> times = SigmaScheduler::plan(count), calls{times.front()};
    for (size_t step = 1; step < times.size(); ++step) calls.insert(calls.end(), 2, times[step]);
    return calls;
  }

  int64_t sigma_index(int64_t call) const override { return (call + 1) / 2; }

  at::Tensor slope_at(const at::Tensor& output, const at::Tensor& sample, float sigma) const {
    return (sample - clipped(original(output, sample, sigma), largest_)) / double(sigma);
  }

  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor&) override {
    const int64_t step = i / 2;
    const double length = sigma(step + 1) - sigma(step);
    const at::Tensor slope = slope_at(output, sample, sigma(sigma_index(i)));
    if (i % 2 == 1) return std::exchange(held_sample_, at::Tensor()) + (slope_ + slope) / 2 * length;
    held_sample_ = sample;
    slope_ = slope;
    return sample + slope * length;
  }

  double largest_;
  at::Tensor held_sample_, slope_;
};

}  // namespace

std::unique_ptr<Scheduler> make_lms(ConfigReader& config) {
  const Sigmas sigmas{.range = {.spread = read_sigma_spread(config)}};
  return std::make_unique<Lms>(read_schedule(config, {.name = "LMSDiscreteScheduler"}), sigmas);
}

std::unique_ptr<Scheduler> make_euler(ConfigReader& config) {
  Sigmas sigmas{.range = read_sigma_range(config)};
  sigmas.log_linear = read_choice(config, "interpolation_type", "linear", {"linear", "log_linear"}) == "log_linear";
  sigmas.end_at_training = read_choice(config, "final_sigmas_type", "zero", {"zero", "sigma_min"}) == "sigma_min";
  config.only("timestep_type", "discrete");
  const ScheduleTraits traits{.name = "EulerDiscreteScheduler", .can_rescale = true, .divides_by_alpha = true};
  return std::make_unique<Euler>(read_schedule(config, traits), sigmas);
}

std::unique_ptr<Scheduler> make_euler_ancestral(ConfigReader& config) {
  const ScheduleTraits traits{
      .name = "EulerAncestralDiscreteScheduler", .predictions = {"epsilon", "v_prediction"}, .can_rescale = true, .divides_by_alpha = true};
  return std::make_unique<EulerAncestral>(read_schedule(config, traits));
}

std::unique_ptr<Scheduler> make_heun(ConfigReader& config) {
  const Sigmas sigmas{.range = {.spread = read_sigma_spread(config)}};
  const double largest = read_clip(config, false);
  const ScheduleTraits traits{.name = "HeunDiscreteScheduler", .beta_start = 0.00085, .beta_end = 0.012};
  return std::make_unique<Heun>(read_schedule(config, traits), sigmas, largest);
}

}  // namespace syncdr::diffusion
