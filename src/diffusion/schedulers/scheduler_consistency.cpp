#include <ATen/TensorOperators.h>

#include "scheduler_config.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

/// What samplers of distilled models share: steps at times that the distillation saw, "original_inference_steps" of the training's, spread evenly over those
/// below the share that set_steps() says.
class ConsistencyScheduler : public Scheduler {
 protected:
  ConsistencyScheduler(ScheduleConfig config, ConfigReader& reader) : Scheduler(std::move(config)), distilled_(reader.integer("original_inference_steps", 50)) {
    reader.check_range("original_inference_steps", distilled_, 1, train_steps());
  }

  bool is_last(int64_t i) const { return i + 1 == int64_t(timesteps().size()); }

 private:
  bool can_stay_below() const override { return true; }

  std::vector<double> plan(int64_t count) override {
    const auto usable = int64_t(double(distilled_) * below());
    if (count > usable)
      throw core::UsageError("{}: {} steps, and \"original_inference_steps\": {} leaves {} of them. Take fewer steps{}", name(), count, distilled_, usable,
                             below() < 1 ? ", or a higher strength" : "");
    const int64_t stride = train_steps() / distilled_;
    std::vector<double> times;
    for (int64_t i = 0; i < count; ++i) times.push_back(double((usable - int64_t(double(i) * (double(usable) / double(count)))) * stride - 1));
    return times;
  }

  int64_t distilled_;
};

/// Latent consistency models (Luo et al., 2023): each call leads to x_0, and fresh noise back to the next time.
class Lcm : public ConsistencyScheduler {
 public:
  Lcm(ScheduleConfig config, ConfigReader& reader)
      : ConsistencyScheduler(std::move(config), reader), largest_(read_clip(reader, false)), scaling_(float(reader.number("timestep_scaling", 10))) {}

  bool wants_noise() const override { return true; }

 private:
  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor& noise) override {
    // The boundary condition, appendix C: at time 0 the answer is the sample itself.
    constexpr float variance = 0.25F;  // of the data
    const float scaled = float(time(i)) * scaling_, sum = scaled * scaled + variance;
    const at::Tensor original = clipped(original_of(output, sample, level_of_step(i)), largest_);
    const at::Tensor clean = double(scaled / root(sum)) * original + double(variance / sum) * sample;
    if (is_last(i)) return clean;
    const Level next = level_of_step(i + 1);
    return double(next.signal) * clean + double(next.std) * noise;
  }

  double largest_;
  float scaling_;
};

/// Trajectory consistency distillation (Zheng et al., 2024): each call leads down to a time s = (1 - eta) of the next one, and fresh noise from there up to it.
class Tcd : public ConsistencyScheduler {
 public:
  Tcd(ScheduleConfig config, ConfigReader& reader, double eta) : ConsistencyScheduler(std::move(config), reader), eta_(eta) {}

  bool wants_noise() const override { return eta_ > 0; }

 private:
  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor& noise) override {
    const int64_t next_time = is_last(i) ? 0 : time(i + 1);
    const auto low_time = int64_t(float(1 - eta_) * float(next_time));
    const Level now = level_of_step(i), low = level_of_time(low_time);
    const at::Tensor moved = double(low.signal) * original_of(output, sample, now) + double(low.std) * noise_of(output, sample, now);
    if (!wants_noise() || is_last(i)) return moved;
    const float share = alphas_cumprod()[size_t(next_time)] / alphas_cumprod()[size_t(low_time)];
    return double(root(share)) * moved + double(root(1 - share)) * noise;
  }

  double eta_;
};

/// These classes pass over spacing and offset, and say so.
ScheduleConfig read_distilled(ConfigReader& config, const char* name) {
  ScheduleConfig schedule = read_schedule(
      config, {.name = name, .spacing = "leading", .can_rescale = true, .beta_start = 0.00085, .beta_end = 0.012, .beta_schedule = "scaled_linear"});
  schedule.spacing = "the distillation's";
  return schedule;
}

}  // namespace

std::unique_ptr<Scheduler> make_lcm(ConfigReader& config) {
  refuse_thresholding(config);
  return std::make_unique<Lcm>(read_distilled(config, "LCMScheduler"), config);
}

std::unique_ptr<Scheduler> make_tcd(ConfigReader& config, double eta) { return std::make_unique<Tcd>(read_distilled(config, "TCDScheduler"), config, eta); }

}  // namespace syncdr::diffusion
