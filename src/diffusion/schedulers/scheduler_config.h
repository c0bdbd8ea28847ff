#pragma once
#include <memory>
#include <string>
#include <vector>

#include "scheduler_numbers.h"
#include "syncdr/diffusion/scheduler.h"

/// The parts of a scheduler's configuration that several classes have, and the classes behind make_scheduler.
namespace syncdr::diffusion {

/// What differs between the classes in the fields that all have.
struct ScheduleTraits {
  std::string name;
  std::string spacing = "linspace";                                      ///< the default
  std::vector<std::string> spacings{"leading", "trailing", "linspace"};  ///< those it knows
  std::vector<std::string> predictions{"epsilon", "v_prediction", "sample"};
  bool can_rescale = false;  ///< has rescale_betas_zero_snr
  /// With rescale_betas_zero_snr the last alpha is 0. Classes that divide by it put 2^-24 in its place, as the original does.
  bool divides_by_alpha = false;
  double beta_start = 0.0001, beta_end = 0.02;  ///< the defaults
  std::string beta_schedule = "linear";         ///< the default
};

/// Reads num_train_timesteps, beta_*, trained_betas, rescale_betas_zero_snr, prediction_type, timestep_spacing and steps_offset.
ScheduleConfig read_schedule(ConfigReader& config, const ScheduleTraits& traits);

/// One of the words, or DataError with all of them.
std::string read_choice(ConfigReader& config, const char* name, const std::string& fallback, const std::vector<std::string>& choices);

/// thresholding is not supported: it is meant for pixels, not for latents. Its numbers have no influence then.
void refuse_thresholding(ConfigReader& config);

/// The largest value that x_0 may have, "clip_sample_range" if "clip_sample" is true, which is meant for pixels; 0: any.
double read_clip(ConfigReader& config, bool fallback);
at::Tensor clipped(const at::Tensor& original, double largest);

/// `count` training times as whole numbers, falling. Throws UsageError if steps_offset moves the first above the last time that was
/// trained.
std::vector<double> whole_times(const ScheduleConfig& schedule, int64_t count);

/// Where a trajectory's sigmas lie beside the spacing: the spread, and its ends "sigma_min" and "sigma_max" (0: those of the times).
struct SigmaRange {
  SigmaSpread spread = SigmaSpread::by_time;
  double low = 0, high = 0;
};
SigmaRange read_sigma_range(ConfigReader& config);
/// Of classes that have no "sigma_min" and "sigma_max" of their own.
SigmaSpread read_sigma_spread(ConfigReader& config);

std::unique_ptr<Scheduler> make_ddim(ConfigReader& config, double eta);
std::unique_ptr<Scheduler> make_ddim_inverse(ConfigReader& config);
std::unique_ptr<Scheduler> make_pndm(ConfigReader& config);
std::unique_ptr<Scheduler> make_lms(ConfigReader& config);
std::unique_ptr<Scheduler> make_euler(ConfigReader& config);
std::unique_ptr<Scheduler> make_euler_ancestral(ConfigReader& config);
std::unique_ptr<Scheduler> make_heun(ConfigReader& config);
std::unique_ptr<Scheduler> make_dpm_multistep(ConfigReader& config);
std::unique_ptr<Scheduler> make_unipc(ConfigReader& config);
std::unique_ptr<Scheduler> make_deis(ConfigReader& config);
std::unique_ptr<Scheduler> make_lcm(ConfigReader& config);
std::unique_ptr<Scheduler> make_tcd(ConfigReader& config, double eta);

}  // namespace syncdr::diffusion
