#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "syncdr/diffusion/checkpoint.h"

/// Samplers of the Stable Diffusion family, equal to diffusers' classes of the same names. A scheduler draws no random numbers: noise is
/// given.
namespace syncdr::diffusion {

/// What the network's output stands for: the noise, v = signal * noise - std * original (Salimans and Ho, 2022), or the original itself.
enum class Prediction { epsilon, v_prediction, sample };

/// What every scheduler is made of: the training's noise schedule and how few steps are spread over its many.
struct ScheduleConfig {
  std::string name;                   ///< the class, "DDIMScheduler"
  std::vector<float> alphas_cumprod;  ///< [T]; x_t = sqrt(a[t]) x_0 + sqrt(1 - a[t]) noise. float32, as the original computes it
  Prediction prediction = Prediction::epsilon;
  std::string spacing;  ///< "leading", "trailing" or "linspace" (Lin et al., 2024, table 2)
  int64_t offset = 0;   ///< added to the timesteps of leading spacing

  int64_t train_steps() const { return int64_t(alphas_cumprod.size()); }
};

/// One sampler. The loop, with i counting from start_index(strength), or from 0 where sampling begins with pure noise:
///
///     scheduler->set_steps(50);
///     at::Tensor sample = noise * scheduler->init_noise_sigma();                   // or noise_to_step(original, noise, start)
///     for (int64_t i = start; i < int64_t(scheduler->timesteps().size()); ++i) {
///       const at::Tensor output = unet(scheduler->scale_model_input(sample, i), scheduler->timesteps()[i]);
///       sample = scheduler->step(output, i, sample, scheduler->wants_noise() ? fresh_noise(i) : at::Tensor());
///     }
///
/// Samples, outputs and noise are [B, C, H, W] of one dtype on one device. Coefficients are host scalars: nothing here waits for the
/// device. They are rounded as the original rounds them (float32, and float64 where it uses NumPy), so that whole trajectories agree.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  const std::string& name() const { return config_.name; }
  Prediction prediction() const { return config_.prediction; }
  const std::string& spacing() const { return config_.spacing; }
  int64_t train_steps() const { return config_.train_steps(); }
  /// The training's noise schedule, [T] float32 on the CPU.
  const std::vector<float>& alphas_cumprod() const { return config_.alphas_cumprod; }

  /// Plans a trajectory of `count` steps and forgets the last one. below: the share of the training's times that all steps are spread over,
  /// counted from the lowest; other than 1 it is LCM's and TCD's alone. Throws UsageError unless 1 <= count <= train_steps(), or where this
  /// count has no valid timesteps (the message says why).
  void set_steps(int64_t count, double below = 1);
  /// The time of each call of the network, in the order of calls: integers, or float32 fractions of the classes with sigmas. PNDM's are
  /// more than the steps asked for, since it repeats one or more, and Heun's nearly twice as many.
  const std::vector<double>& timesteps() const { return timesteps_; }
  /// Image to image: the first call's index if `strength` of the steps are to be taken; 1: all. Throws UsageError unless 0 < strength <= 1,
  /// if no step is left, or if this class can only begin with the first.
  int64_t start_index(double strength) const;

  /// The standard deviation of the noise from which sampling begins.
  virtual double init_noise_sigma() const { return 1; }
  /// Whether step() needs noise.
  virtual bool wants_noise() const { return false; }
  /// The sample as the network is to see it at call i.
  virtual at::Tensor scale_model_input(const at::Tensor& sample, int64_t) const { return sample; }
  /// The sample after call i, given the network's output for it. Calls must follow each other: some classes remember outputs.
  /// noise: standard normal, fresh at each call; only read if wants_noise().
  at::Tensor step(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor& noise = {});
  /// Forgets remembered outputs: before another trajectory over the same steps.
  virtual void reset() {}

  /// The original noised to the level of call i of the planned trajectory.
  at::Tensor noise_to_step(const at::Tensor& original, const at::Tensor& noise, int64_t i) const;
  /// Training: originals noised to training times [B] int64 in [0, train_steps()), on the original's device, whatever set_steps planned.
  at::Tensor add_noise(const at::Tensor& original, const at::Tensor& noise, const at::Tensor& times) const;
  /// Training: the target of v prediction, sqrt(a) noise - sqrt(1 - a) original, at training times [B] int64.
  at::Tensor velocity(const at::Tensor& original, const at::Tensor& noise, const at::Tensor& times) const;

 protected:
  /// x = signal * original + std * noise
  struct Level {
    float signal, std;
  };

  explicit Scheduler(ScheduleConfig config) : config_(std::move(config)) {}
  /// The timesteps of `count` steps; keeps what the class computes beside them.
  virtual std::vector<double> plan(int64_t count) = 0;
  /// Whether plan() can keep below a share of the training's times other than 1, and that share.
  virtual bool can_stay_below() const { return false; }
  double below() const { return below_; }
  /// How many calls a step has, but for the last.
  virtual int64_t calls_per_step() const { return 1; }
  /// Throws UsageError if a trajectory cannot begin at call `start`, which is not the first.
  virtual void check_late_start(int64_t) const {}
  virtual at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor& noise) = 0;
  /// Of call i, and of a training time.
  virtual Level level_of_step(int64_t i) const { return level_of_time(time(i)); }
  virtual Level level_of_time(int64_t time) const;

  /// x_0 and epsilon, as the output implies them at this level.
  at::Tensor original_of(const at::Tensor& output, const at::Tensor& sample, const Level& level) const;
  at::Tensor noise_of(const at::Tensor& output, const at::Tensor& sample, const Level& level) const;

  const ScheduleConfig& config() const { return config_; }
  /// The time of call i, of classes whose times are whole, and how many training times a step spans.
  int64_t time(int64_t i) const { return int64_t(timesteps_[size_t(i)]); }
  int64_t stride() const { return train_steps() / steps_; }

 private:
  ScheduleConfig config_;
  int64_t steps_ = 0;  ///< these two as given to set_steps
  double below_ = 1;
  std::vector<double> timesteps_;
  mutable at::Tensor noise_table_, velocity_table_;  ///< [2, T]: signal and std at every training time, on the device that last asked
};

struct SamplerOptions {
  double eta = 0;       ///< DDIM and TCD only: the share of fresh noise in each step, 0 (none) to 1 (as DDPM, as a consistency model)
  std::string spacing;  ///< in the place of the configuration's "timestep_spacing"; empty: that one
};

/// The class that the configuration's "_class_name" names. Fields of other classes of the family are passed over, as the original does,
/// which keeps them for a later change of class. Throws DataError on any other unknown field, a value out of its range or one that is not
/// supported, and on a class that is not here: where another can be made of its configuration the message says how. UsageError on an eta or a
/// spacing that the class has no use for.
std::unique_ptr<Scheduler> make_scheduler(ConfigReader& config, const SamplerOptions& options = {});
/// Another class with the same training schedule (diffusers' from_config): what its configuration lacks has the class's defaults. The
/// configuration may be of a class that is not here, as long as it is of the family (DDPM, KDPM2, ...). Throws UsageError
/// on an unknown name, listing those that are known.
std::unique_ptr<Scheduler> make_scheduler(const std::string& name, ConfigReader& config, const SamplerOptions& options = {});
/// From a folder's scheduler_config.json; an empty name: the class it names. Reads "-Infinity" too, which diffusers writes though JSON has
/// it not.
std::unique_ptr<Scheduler> load_scheduler(const std::filesystem::path& folder, const std::string& name = "", const SamplerOptions& options = {});
/// A checkpoint's; an empty name: the class that model_index.json names, as the original does it, whatever the configuration says.
std::unique_ptr<Scheduler> load_scheduler(const CheckpointFolder& checkpoint, const std::string& name = "", const SamplerOptions& options = {});
/// The class that a folder's scheduler_config.json names, whether it is here or not.
std::string scheduler_class(const std::filesystem::path& folder);

const std::vector<std::string>& scheduler_names();
/// Those that lead from noise to images: all but DDIM's inverse.
const std::vector<std::string>& sampler_names();

}  // namespace syncdr::diffusion
