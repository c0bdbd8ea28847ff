#include <ATen/TensorOperators.h>

#include <algorithm>

#include "scheduler_config.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

/// What DDIM and its inverse share (Song et al., "Denoising Diffusion Implicit Models", ICLR 2021).
class DdimBase : public Scheduler {
 protected:
  DdimBase(ScheduleConfig config, ConfigReader& reader) : Scheduler(std::move(config)), largest_(read_clip(reader, true)) {}

  float alpha(int64_t time) const { return alphas_cumprod()[size_t(time)]; }

  struct Parts {
    at::Tensor original, noise;  ///< x_0 and epsilon, as the network's output implies them
  };
  /// The output taken apart at noise level `alpha`.
  Parts parts(const at::Tensor& output, const at::Tensor& sample, float alpha) const {
    const Level level{root(alpha), root(1 - alpha)};
    // The noise stays that of the unclipped original, as in the original.
    return {clipped(original_of(output, sample, level), largest_), noise_of(output, sample, level)};
  }

 private:
  double largest_;
};

class Ddim : public DdimBase {
 public:
  Ddim(ScheduleConfig config, ConfigReader& reader, double eta)
      : DdimBase(std::move(config), reader), eta_(float(eta)), final_alpha_(reader.boolean("set_alpha_to_one", true) ? 1 : alphas_cumprod()[0]) {}

  bool wants_noise() const override { return eta_ > 0; }

 private:
  std::vector<double> plan(int64_t count) override { return whole_times(config(), count); }

  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor& noise) override {
    const int64_t next_time = time(i) - stride();
    const float now = alpha(time(i)), next = next_time >= 0 ? alpha(next_time) : final_alpha_;
    const float std = eta_ > 0 ? eta_ * root((1 - next) / (1 - now) * (1 - now / next)) : 0;  // equation 16
    const Parts part = parts(output, sample, now);
    const double signal = root(next), direction = root(1 - next - std * std);
    const at::Tensor moved = signal * part.original + direction * part.noise;  // equation 12
    return wants_noise() ? moved + double(std) * noise : moved;
  }

  float eta_, final_alpha_;
};

/// From an image to the noise that DDIM would make it of: the same steps, the other way.
class DdimInverse : public DdimBase {
 public:
  DdimInverse(ScheduleConfig config, ConfigReader& reader)
      : DdimBase(std::move(config), reader),
        // The second name is an older one of the same field.
        first_alpha_(reader.boolean("set_alpha_to_zero", reader.boolean("set_alpha_to_one", true)) ? 1 : alphas_cumprod()[0]) {}

 private:
  std::vector<double> plan(int64_t count) override {
    std::vector<double> rising = whole_times(config(), count);
    std::reverse(rising.begin(), rising.end());
    return rising;
  }

  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor&) override {
    // The network is called with the time that the step leads to.
    const int64_t from = std::min(time(i) - stride(), train_steps() - 1);
    const Parts part = parts(output, sample, from >= 0 ? alpha(from) : first_alpha_);
    const float next = alpha(time(i));
    const double signal = root(next), std = root(1 - next);
    return signal * part.original + std * part.noise;
  }

  float first_alpha_;
};

}  // namespace

std::unique_ptr<Scheduler> make_ddim(ConfigReader& config, double eta) {
  refuse_thresholding(config);
  return std::make_unique<Ddim>(read_schedule(config, {.name = "DDIMScheduler", .spacing = "leading", .can_rescale = true}), config, eta);
}

std::unique_ptr<Scheduler> make_ddim_inverse(ConfigReader& config) {
  const ScheduleTraits traits{.name = "DDIMInverseScheduler", .spacing = "leading", .spacings = {"leading", "trailing"}, .can_rescale = true};
  return std::make_unique<DdimInverse>(read_schedule(config, traits), config);
}

}  // namespace syncdr::diffusion
