#pragma once
#include <vector>

#include "scheduler_config.h"

namespace syncdr::diffusion {

struct LambdaGrid {
  SigmaRange sigmas;
  bool round_karras = true;  ///< times of Karras sigmas are rounded; those of exponential ones are always cut off
};

/// What the solvers share whose clock is lambda = log(signal / std): DPM-Solver++, UniPC and DEIS. Samples have variance 1. The grid has one time more
/// than asked for, less the lowest: unlike that of other classes it stops short of time 0.
class LambdaScheduler : public Scheduler {
 protected:
  LambdaScheduler(ScheduleConfig schedule, const LambdaGrid& grid);

  std::vector<double> plan(int64_t count) override;
  /// The sigma that the last step leads to. spread: the lowest of a spread, or the training's least where there is none.
  virtual double last_sigma(double spread) const = 0;
  /// The training times that steps are taken from: the first so many.
  virtual int64_t usable_times() const { return train_steps(); }

  Level level_of_step(int64_t i) const override { return level(i); }
  Level level_of_time(int64_t time) const override;

  int64_t calls() const { return int64_t(levels_.size()) - 1; }
  /// Before call i; after the last: at i = calls(). lambda is infinite where the sigma is 0.
  const Level& level(int64_t i) const { return levels_[size_t(i)]; }
  float lambda(int64_t i) const { return lambdas_[size_t(i)]; }
  static float lambda_of(const Level& level) { return log_of(level.signal) - log_of(level.std); }
  float training_sigma(int64_t time) const { return training_[size_t(time)]; }

 private:
  std::vector<double> spaced(int64_t count) const;
  static Level level_of(float sigma);

  LambdaGrid grid_;
  std::vector<float> training_;  // [T] sigmas
  std::vector<Level> levels_;    // one more than calls
  std::vector<float> lambdas_;   // of each level
};

/// Options of these classes that make another grid, of other models: not supported.
void refuse_flow(ConfigReader& config);

}  // namespace syncdr::diffusion
