#pragma once
#include <string>
#include <vector>

#include "scheduler_config.h"

namespace syncdr::diffusion {

/// What LMS and the Euler methods share: samples are x_0 + sigma noise, of growing variance, and the network sees them divided to variance
/// 1 (Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022).
class SigmaScheduler : public Scheduler {
 public:
  double init_noise_sigma() const override;
  at::Tensor scale_model_input(const at::Tensor& sample, int64_t i) const override;

 protected:
  /// Where the sigmas come from, beside the spacing.
  struct Sigmas {
    SigmaSpread spread = SigmaSpread::by_time;
    double low = 0, high = 0;      ///< the ends of a spread other than by_time; 0: those of the spaced times
    bool log_linear = false;       ///< a geometric row over the whole training, of one more sigma
    bool end_at_training = false;  ///< the last sigma is the training's least, not 0
  };
  SigmaScheduler(ScheduleConfig config, Sigmas sigmas);

  std::vector<double> plan(int64_t count) override;
  Level level_of_step(int64_t i) const override { return {1, sigma(i)}; }
  Level level_of_time(int64_t time) const override { return {1, training_[size_t(time)]}; }

  /// The standard deviation before call i; after the last call: at i = number of calls.
  float sigma(int64_t i) const { return sigmas_[size_t(i)]; }
  /// x_0 as the output implies it at this sigma.
  at::Tensor original(const at::Tensor& output, const at::Tensor& sample, float sigma) const;

 private:
  std::vector<double> interpolated(const std::vector<double>& times, int64_t count) const;

  Sigmas how_;
  std::vector<float> training_;  // [T]
  std::vector<float> sigmas_;    // one more than calls
};

}  // namespace syncdr::diffusion
