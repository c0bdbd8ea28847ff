#include "scheduler_numbers.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/scalar_tensor.h>

#include <algorithm>
#include <cmath>

namespace syncdr::diffusion {
namespace {

at::Tensor scalar(float value) { return at::scalar_tensor(value, at::TensorOptions(at::kCPU).dtype(at::kFloat)); }

}  // namespace

float root(float value) { return scalar(value).pow(0.5).item<float>(); }
float log_of(float value) { return scalar(value).log().item<float>(); }
float exp_of(float value) { return scalar(value).exp().item<float>(); }
float expm1_of(float value) { return scalar(value).expm1().item<float>(); }

std::vector<double> linspace(double from, double to, int64_t count) {
  std::vector<double> values(size_t(count), from);
  if (count < 2) return values;
  const double step = (to - from) / double(count - 1);
  for (int64_t i = 0; i < count; ++i) values[size_t(i)] = double(i) * step + from;
  values.back() = to;
  return values;
}

std::vector<double> arange_down(double from, double step) {
  // NumPy takes the first two values and multiplies their (rounded) difference.
  const auto count = int64_t(std::ceil(from / step));
  const double delta = (from - step) - from;
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(i == 1 ? from - step : from + double(i) * delta);
  return values;
}

double interpolate(const std::vector<float>& table, double x) {
  if (x <= 0) return table.front();
  if (x >= double(table.size() - 1)) return table.back();
  const auto below = size_t(x);
  const double low = table[below], high = table[below + 1];
  return (high - low) * (x - double(below)) + low;
}

std::vector<double> rounded(std::vector<double> values) {
  for (double& value : values) value = std::nearbyint(value);
  return values;
}

std::vector<double> as_float(std::vector<double> values) {
  for (double& value : values) value = float(value);
  return values;
}

std::vector<double> spaced_times(const std::string& spacing, int64_t train_steps, int64_t count, int64_t offset) {
  std::vector<double> times;
  if (spacing == "trailing") {
    times = rounded(arange_down(double(train_steps), double(train_steps) / double(count)));
    for (double& time : times) time -= 1;
    return times;
  }
  if (spacing == "linspace") {
    times = linspace(0, double(train_steps - 1), count);
  } else {
    const int64_t ratio = train_steps / count;
    for (int64_t i = 0; i < count; ++i) times.push_back(double(i * ratio + offset));
  }
  std::reverse(times.begin(), times.end());
  return times;
}

std::vector<double> spread_sigmas(SigmaSpread spread, double high, double low, int64_t count) {
  std::vector<double> sigmas;
  if (spread == SigmaSpread::karras) {
    constexpr double rho = 7;
    const double from = std::pow(high, 1 / rho), to = std::pow(low, 1 / rho);
    for (const double ramp : linspace(0, 1, count)) sigmas.push_back(std::pow(from + ramp * (to - from), rho));
  } else {
    for (const double log : linspace(std::log(high), std::log(low), count)) sigmas.push_back(std::exp(log));
  }
  return sigmas;
}

std::vector<float> training_sigmas(const std::vector<float>& alphas_cumprod) {
  std::vector<float> sigmas;
  for (const float alpha : alphas_cumprod) sigmas.push_back(root((1 - alpha) / alpha));
  return sigmas;
}

std::vector<double> times_of_sigmas(const std::vector<double>& sigmas, const std::vector<float>& training) {
  std::vector<float> logs;
  for (const float sigma : training) logs.push_back(float(std::log(double(sigma))));
  std::vector<double> times;
  for (const double sigma : sigmas) {
    const double log = std::log(std::max(sigma, 1e-10));
    // The last entry that is not above, at least the first and at most the last but one.
    const auto above = std::upper_bound(logs.begin(), logs.end(), log, [](double value, float entry) { return value < double(entry); });
    const size_t low = std::min(size_t(std::max<int64_t>(above - logs.begin() - 1, 0)), logs.size() - 2);
    const double share = std::clamp((double(logs[low]) - log) / double(logs[low] - logs[low + 1]), 0.0, 1.0);
    times.push_back((1 - share) * double(low) + share * double(low + 1));
  }
  return times;
}

}  // namespace syncdr::diffusion
