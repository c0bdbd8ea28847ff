#include "scheduler_config.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumprod.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <cmath>
#include <numbers>

#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

// A cap before anything of that size is allocated; published models have 1000.
constexpr int64_t max_train_steps = 1'000'000;

int64_t read_train_steps(ConfigReader& config) {
  const int64_t steps = config.integer("num_train_timesteps", 1000);
  if (steps < 2 || steps > max_train_steps) config.refuse("num_train_timesteps", fmt::format("is {}, not 2 to {}", steps, max_train_steps));
  return steps;
}

/// "squaredcos_cap_v2" (Nichol and Dhariwal, 2021): betas whose products follow a squared cosine, at most 0.999.
at::Tensor cosine_betas(int64_t steps) {
  const auto alpha_bar = [&](int64_t i) { return std::pow(std::cos((double(i) / double(steps) + 0.008) / 1.008 * std::numbers::pi / 2), 2); };
  std::vector<float> betas;
  for (int64_t i = 0; i < steps; ++i) betas.push_back(float(std::min(1 - alpha_bar(i + 1) / alpha_bar(i), 0.999)));
  return at::tensor(betas);
}

/// trained_betas: a list that takes the place of the formula; undefined where it is missing or null.
at::Tensor read_trained_betas(ConfigReader& config, int64_t steps) {
  const bool has = config.has("trained_betas");
  config.ignore("trained_betas");  // read here: a list of numbers
  if (!has) return {};
  const boost::json::value& field = config.fields().at("trained_betas");
  if (!field.is_array()) config.refuse("trained_betas", "is not a list of numbers");
  const boost::json::array& list = field.get_array();
  if (int64_t(list.size()) != steps) config.refuse("trained_betas", fmt::format("has {} numbers for num_train_timesteps = {}", list.size(), steps));
  std::vector<float> betas;
  for (const boost::json::value& value : list) {
    if (!value.is_number()) config.refuse("trained_betas", "is not a list of numbers");
    betas.push_back(value.to_number<float>());
    if (!(betas.back() >= 0 && betas.back() < 1)) config.refuse("trained_betas", fmt::format("holds {}, not 0 to below 1", betas.back()));
  }
  return at::tensor(betas);
}

at::Tensor read_betas(ConfigReader& config, const ScheduleTraits& traits, int64_t steps) {
  const double start = config.number("beta_start", traits.beta_start), end = config.number("beta_end", traits.beta_end);
  const std::string schedule = read_choice(config, "beta_schedule", traits.beta_schedule, {"linear", "scaled_linear", "squaredcos_cap_v2"});
  if (!(start >= 0 && start < 1)) config.refuse("beta_start", fmt::format("is {}, not 0 to below 1", start));
  if (!(end >= 0 && end < 1)) config.refuse("beta_end", fmt::format("is {}, not 0 to below 1", end));
  if (const at::Tensor trained = read_trained_betas(config, steps); trained.defined()) return trained;
  if (schedule == "squaredcos_cap_v2") return cosine_betas(steps);
  if (schedule == "linear") return at::linspace(start, end, steps, at::kFloat);
  return at::linspace(std::pow(start, 0.5), std::pow(end, 0.5), steps, at::kFloat).pow(2);
}

/// Betas after which nothing of the original is left at the last time (Lin et al., 2024, algorithm 1).
at::Tensor rescaled_to_zero_snr(const at::Tensor& betas) {
  at::Tensor root = at::cumprod(1.0 - betas, 0).sqrt();
  const at::Tensor first = root[0].clone(), last = root[-1].clone();
  root = (root - last) * (first / (first - last));
  const at::Tensor product = root.pow(2);
  return 1.0 - at::cat({product.slice(0, 0, 1), product.slice(0, 1) / product.slice(0, 0, -1)});
}

std::vector<float> read_alphas_cumprod(ConfigReader& config, const ScheduleTraits& traits) {
  at::Tensor betas = read_betas(config, traits, read_train_steps(config));
  const bool rescale = traits.can_rescale && config.boolean("rescale_betas_zero_snr", false);
  if (rescale) betas = rescaled_to_zero_snr(betas);
  const at::Tensor product = at::cumprod(1.0 - betas, 0);
  std::vector<float> alphas(product.const_data_ptr<float>(), product.const_data_ptr<float>() + product.numel());
  if (rescale && traits.divides_by_alpha) alphas.back() = 0x1p-24f;
  return alphas;
}

Prediction prediction_of(const std::string& word) {
  if (word == "epsilon") return Prediction::epsilon;
  return word == "v_prediction" ? Prediction::v_prediction : Prediction::sample;
}

}  // namespace

std::string read_choice(ConfigReader& config, const char* name, const std::string& fallback, const std::vector<std::string>& choices) {
  const std::string word = config.text(name, fallback);
  if (std::find(choices.begin(), choices.end(), word) == choices.end())
    config.refuse(name, fmt::format("is \"{}\", not one of {}", word, fmt::join(choices, ", ")));
  return word;
}

ScheduleConfig read_schedule(ConfigReader& config, const ScheduleTraits& traits) {
  ScheduleConfig schedule;
  schedule.name = traits.name;
  schedule.alphas_cumprod = read_alphas_cumprod(config, traits);
  schedule.prediction = prediction_of(read_choice(config, "prediction_type", "epsilon", traits.predictions));
  schedule.spacing = read_choice(config, "timestep_spacing", traits.spacing, traits.spacings);
  schedule.offset = config.integer("steps_offset", 0);
  if (schedule.offset < 0 || schedule.offset >= schedule.train_steps())
    config.refuse("steps_offset", fmt::format("is {}, not 0 to below num_train_timesteps = {}", schedule.offset, schedule.train_steps()));
  return schedule;
}

void refuse_thresholding(ConfigReader& config) {
  config.only("thresholding", false);
  config.ignore("dynamic_thresholding_ratio sample_max_value");
}

double read_clip(ConfigReader& config, bool fallback) {
  if (!config.boolean("clip_sample", fallback)) return 0;
  const double largest = config.number("clip_sample_range", 1);
  if (!(largest > 0)) config.refuse("clip_sample_range", fmt::format("is {}, not above 0", largest));
  return largest;
}

at::Tensor clipped(const at::Tensor& original, double largest) { return largest > 0 ? original.clamp(-largest, largest) : original; }

std::vector<double> whole_times(const ScheduleConfig& schedule, int64_t count) {
  const int64_t last = schedule.train_steps() - 1;
  std::vector<double> times = rounded(spaced_times(schedule.spacing, last + 1, count, schedule.offset));
  if (times.front() > double(last))
    throw core::UsageError("{}: {} steps with steps_offset = {} begin at timestep {}, above the last one trained, {}. Take fewer steps", schedule.name, count,
                           schedule.offset, times.front(), last);
  return times;
}

SigmaSpread read_sigma_spread(ConfigReader& config) {
  config.only("use_beta_sigmas", false);
  const bool karras = config.boolean("use_karras_sigmas", false), exponential = config.boolean("use_exponential_sigmas", false);
  if (karras && exponential) config.refuse("use_exponential_sigmas", "and \"use_karras_sigmas\" are both true");
  return karras ? SigmaSpread::karras : exponential ? SigmaSpread::exponential : SigmaSpread::by_time;
}

SigmaRange read_sigma_range(ConfigReader& config) {
  const SigmaRange range{read_sigma_spread(config), config.number("sigma_min", 0), config.number("sigma_max", 0)};
  if (config.has("sigma_min") && !(range.low > 0)) config.refuse("sigma_min", fmt::format("is {}, not above 0", range.low));
  if (config.has("sigma_max") && !(range.high > range.low)) config.refuse("sigma_max", fmt::format("is {}, not above sigma_min", range.high));
  return range;
}

}  // namespace syncdr::diffusion
