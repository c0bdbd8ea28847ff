#include "syncdr/diffusion/scheduler.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "scheduler_config.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"

namespace syncdr::diffusion {
namespace {

/// Fields of diffusers' schedulers that belong to some class of the family. A file keeps them through changes of class ("clip_sample" in
/// the PNDM configuration of Stable Diffusion 1.5), and a class passes over those that are not its own.
constexpr const char* family_fields = R"(
    algorithm_type beta_end beta_schedule beta_start clip_sample clip_sample_range disable_corrector dynamic_thresholding_ratio
    euler_at_final final_sigmas_type flow_shift interpolation_type lambda_min_clipped lower_order_final noise_sampler_seed
    num_train_timesteps original_inference_steps predict_x0 prediction_type rescale_betas_zero_snr rho sample_max_value set_alpha_to_one
    set_alpha_to_zero shift_terminal sigma_data sigma_max sigma_min sigma_schedule skip_prk_steps solver_order solver_p solver_type
    steps_offset thresholding time_shift_type timestep_scaling timestep_spacing timestep_type trained_betas use_beta_sigmas
    use_dynamic_shifting use_exponential_sigmas use_flow_sigmas use_karras_sigmas use_lu_lambdas variance_type)";

/// Classes of the family that are not here. Their configurations hold a training schedule, of which others can be made.
constexpr const char* relatives[] = {"DDPMScheduler", "DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler", "KDPM2AncestralDiscreteScheduler",
                                     "KDPM2DiscreteScheduler"};

using Maker = std::unique_ptr<Scheduler> (*)(ConfigReader& config);

constexpr std::pair<const char*, Maker> makers_without_eta[] = {{"DDIMInverseScheduler", make_ddim_inverse},
                                                                {"DEISMultistepScheduler", make_deis},
                                                                {"DPMSolverMultistepScheduler", make_dpm_multistep},
                                                                {"EulerAncestralDiscreteScheduler", make_euler_ancestral},
                                                                {"EulerDiscreteScheduler", make_euler},
                                                                {"HeunDiscreteScheduler", make_heun},
                                                                {"LCMScheduler", make_lcm},
                                                                {"LMSDiscreteScheduler", make_lms},
                                                                {"PNDMScheduler", make_pndm},
                                                                {"UniPCMultistepScheduler", make_unipc}};

using MakerWithEta = std::unique_ptr<Scheduler> (*)(ConfigReader& config, double eta);

constexpr std::pair<const char*, MakerWithEta> makers_with_eta[] = {{"DDIMScheduler", make_ddim}, {"TCDScheduler", make_tcd}};

std::unique_ptr<Scheduler> make_class(const std::string& name, ConfigReader& config, const SamplerOptions& options) {
  if (!(options.eta >= 0 && options.eta <= 1)) throw core::UsageError("eta = {} is not 0 to 1", options.eta);
  for (const auto& [class_name, make] : makers_with_eta)
    if (class_name == name) return make(config, options.eta);
  if (options.eta != 0) throw core::UsageError("eta = {}: {} has no use for it; it is DDIMScheduler's and TCDScheduler's", options.eta, name);
  for (const auto& [class_name, make] : makers_without_eta)
    if (class_name == name) return make(config);
  throw core::UsageError("no scheduler \"{}\"; there are {}", name, fmt::join(scheduler_names(), ", "));
}

bool is_one_of(const auto& names, const std::string& name) { return std::find(std::begin(names), std::end(names), name) != std::end(names); }

/// Empty where the configuration names none. Throws DataError if its class has another kind of training schedule than this family.
std::string class_of(ConfigReader& config) {
  const std::string name = config.text("_class_name", "");
  if (!name.empty() && !is_one_of(scheduler_names(), name) && !is_one_of(relatives, name))
    config.refuse("_class_name", fmt::format("is \"{}\". Samplers are made of configurations of {} and {}", name, fmt::join(scheduler_names(), ", "),
                                             fmt::join(relatives, ", ")));
  return name;
}

/// Signal and std at training times [B], shaped to multiply `like`. The table, [2, T] of all `count` times, is made once and moves along with the
/// caller's device.
template <class LevelOfTime>
std::pair<at::Tensor, at::Tensor> levels_at(const at::Tensor& times, const at::Tensor& like, at::Tensor& table, int64_t count,
                                            const LevelOfTime& level_of_time) {
  if (!table.defined()) {
    table = at::empty({2, count}, at::kFloat);
    float* const values = table.mutable_data_ptr<float>();
    for (int64_t time = 0; time < count; ++time) {
      const auto level = level_of_time(time);
      values[time] = level.signal;
      values[count + time] = level.std;
    }
  }
  if (table.device() != like.device()) table = table.to(like.device());
  std::vector<int64_t> shape(size_t(like.dim()), 1);
  shape[0] = times.numel();
  const at::Tensor rows = table.index_select(1, times).to(like.scalar_type());
  return {rows[0].view(shape), rows[1].view(shape)};
}

/// With another spacing in the place of its own.
ConfigReader with_spacing(const ConfigReader& config, const std::string& spacing) {
  boost::json::object fields = config.fields();
  fields["timestep_spacing"] = spacing;
  return {fields, config.where()};
}

constexpr size_t max_config_bytes = 1 << 20;

/// Python's json writes the default of this field as -Infinity, which JSON has not. null stands for the default too.
std::string without_infinity(std::string text) {
  constexpr std::string_view name = "\"lambda_min_clipped\"", infinite = "-Infinity", blank = " \t\r\n";
  for (size_t at = 0; (at = text.find(name, at)) != std::string::npos;) {
    at += name.size();
    const size_t colon = text.find_first_not_of(blank, at);
    if (colon == std::string::npos || text[colon] != ':') continue;
    const size_t value = text.find_first_not_of(blank, colon + 1);
    if (value != std::string::npos && std::string_view(text).substr(value).starts_with(infinite)) text.replace(value, infinite.size(), "null");
  }
  return text;
}

ConfigReader read_folder(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "scheduler_config.json";
  const boost::json::value content = io::parse_json(without_infinity(io::read_file(file, max_config_bytes)), file.string());
  boost::json::object fields = io::as_object(content, file.string());
  // Fields that the original wrote with its defaults, which it reads as not there: another class may have others.
  const char* const defaults = "_use_default_values";
  if (fields.contains(defaults))
    for (const boost::json::value& name : boost::json::array(io::json_array(fields, defaults, file.string())))
      if (name.is_string()) fields.erase(name.get_string());
  return {fields, file.string()};
}

bool makes_ddim(ConfigReader config) {
  try {
    return make_scheduler("DDIMScheduler", config) != nullptr;
  } catch (const core::DataError&) {
    return false;
  }
}

}  // namespace

void Scheduler::set_steps(int64_t count, double below) {
  if (count < 1 || count > train_steps()) throw core::UsageError("{}: {} steps, not 1 to {} (num_train_timesteps)", name(), count, train_steps());
  if (!(below > 0 && below <= 1)) throw core::UsageError("{}: steps below {} of the training's times, which is not above 0 to 1", name(), below);
  if (below < 1 && !can_stay_below())
    throw core::UsageError("{}: its steps cannot be spread over the last {} of the training's times; LCMScheduler's and TCDScheduler's can", name(), below);
  steps_ = 0;  // no steps while plan() may throw
  below_ = below;
  timesteps_.clear();
  std::vector<double> times = plan(count);
  // diffusers goes on with such a time and takes the last one of training for it.
  if (std::any_of(times.begin(), times.end(), [](double time) { return time < 0; }))
    throw core::UsageError("{}: {} steps with {} spacing give a timestep below 0, by the rounding of {} / {}. Take one step more or less", name(), count,
                           config_.spacing, train_steps(), count);
  steps_ = count;
  timesteps_ = std::move(times);
  reset();
}

int64_t Scheduler::start_index(double strength) const {
  SYNCDR_ASSERT(steps_ > 0, "start_index before set_steps");
  if (!(strength > 0 && strength <= 1)) throw core::UsageError("strength = {} is not above 0 to 1", strength);
  const int64_t start = (steps_ - std::min(int64_t(double(steps_) * strength), steps_)) * calls_per_step();
  if (start >= int64_t(timesteps_.size())) throw core::UsageError("strength = {} of {} steps leaves no step", strength, steps_);
  if (start > 0) check_late_start(start);
  return start;
}

at::Tensor Scheduler::step(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor& noise) {
  SYNCDR_ASSERT(i >= 0 && i < int64_t(timesteps_.size()), "step {} of {}", i, timesteps_.size());
  SYNCDR_ASSERT(output.sizes() == sample.sizes(), "output [{}] for sample [{}]", fmt::join(output.sizes(), ", "), fmt::join(sample.sizes(), ", "));
  SYNCDR_ASSERT(!wants_noise() || noise.defined(), "{} needs noise", name());
  return advance(output, i, sample, noise);
}

at::Tensor Scheduler::noise_to_step(const at::Tensor& original, const at::Tensor& noise, int64_t i) const {
  SYNCDR_ASSERT(i >= 0 && i < int64_t(timesteps_.size()), "step {} of {}", i, timesteps_.size());
  const Level level = level_of_step(i);
  return original * double(level.signal) + noise * double(level.std);
}

at::Tensor Scheduler::add_noise(const at::Tensor& original, const at::Tensor& noise, const at::Tensor& times) const {
  const auto [signal, std] = levels_at(times, original, noise_table_, train_steps(), [&](int64_t time) { return level_of_time(time); });
  return signal * original + std * noise;
}

at::Tensor Scheduler::velocity(const at::Tensor& original, const at::Tensor& noise, const at::Tensor& times) const {
  // The base's levels: signal and noise of variance 1 together, whatever the scale of the class's own samples.
  const auto [signal, std] = levels_at(times, original, velocity_table_, train_steps(), [&](int64_t time) { return Scheduler::level_of_time(time); });
  return signal * noise - std * original;
}

Scheduler::Level Scheduler::level_of_time(int64_t time) const {
  const float alpha = config_.alphas_cumprod[size_t(time)];
  return {root(alpha), root(1 - alpha)};
}

at::Tensor Scheduler::original_of(const at::Tensor& output, const at::Tensor& sample, const Level& level) const {
  const double signal = level.signal, std = level.std;
  if (prediction() == Prediction::sample) return output;
  if (prediction() == Prediction::epsilon) return (sample - std * output) / signal;
  return signal * sample - std * output;
}

at::Tensor Scheduler::noise_of(const at::Tensor& output, const at::Tensor& sample, const Level& level) const {
  const double signal = level.signal, std = level.std;
  if (prediction() == Prediction::epsilon) return output;
  if (prediction() == Prediction::sample) return (sample - signal * output) / std;
  return signal * output + std * sample;
}

std::unique_ptr<Scheduler> make_scheduler(ConfigReader& config, const SamplerOptions& options) {
  const std::string name = class_of(config);
  const ConfigReader unread = config;
  try {
    if (!is_one_of(scheduler_names(), name))
      config.refuse("_class_name", fmt::format("is {}", name.empty() ? "missing" : fmt::format("\"{}\", which is not here", name)));
    return make_scheduler(name, config, options);
  } catch (const core::DataError& error) {
    if (!makes_ddim(unread)) throw;
    throw core::DataError("{}. Another sampler can be made of this configuration: set translate.diffusion.scheduler=DDIMScheduler, or one of {}", error.what(),
                          fmt::join(sampler_names(), ", "));
  }
}

std::unique_ptr<Scheduler> make_scheduler(const std::string& name, ConfigReader& config, const SamplerOptions& options) {
  class_of(config);
  if (!options.spacing.empty()) config = with_spacing(config, options.spacing);
  std::unique_ptr<Scheduler> scheduler = make_class(name, config, options);
  if (!options.spacing.empty() && scheduler->spacing() != options.spacing)
    throw core::UsageError("{}: its steps lie on a grid of its own ({}): leave the spacing (now \"{}\") empty", name, scheduler->spacing(), options.spacing);
  config.ignore(family_fields);
  config.finish();
  return scheduler;
}

std::unique_ptr<Scheduler> load_scheduler(const std::filesystem::path& folder, const std::string& name, const SamplerOptions& options) {
  ConfigReader config = read_folder(folder);
  return name.empty() ? make_scheduler(config, options) : make_scheduler(name, config, options);
}

std::unique_ptr<Scheduler> load_scheduler(const CheckpointFolder& checkpoint, const std::string& name, const SamplerOptions& options) {
  const ConfigReader found = read_folder(checkpoint.root() / "scheduler");
  boost::json::object fields = found.fields();
  fields["_class_name"] = checkpoint.class_of("scheduler");
  ConfigReader config(fields, found.where());
  return name.empty() ? make_scheduler(config, options) : make_scheduler(name, config, options);
}

std::string scheduler_class(const std::filesystem::path& folder) { return read_folder(folder).text("_class_name", ""); }

const std::vector<std::string>& scheduler_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, make] : makers_with_eta) all.emplace_back(name);
    for (const auto& [name, make] : makers_without_eta) all.emplace_back(name);
    std::sort(all.begin(), all.end());
    return all;
  }();
  return names;
}

const std::vector<std::string>& sampler_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = scheduler_names();
    std::erase(all, "DDIMInverseScheduler");
    return all;
  }();
  return names;
}

}  // namespace syncdr::diffusion
