#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// Numbers as diffusers gets them, to the last bit.
namespace syncdr::diffusion {

/// x ** 0.5, log, exp and exp(x) - 1 of float32 as LibTorch's kernels round them. The C library's differ in the last bit (LibTorch's x ** 0.5 is a power, not a
/// square root), which over a thousand steps, or in the difference of two close logarithms, becomes visible.
float root(float value);
float log_of(float value);
float exp_of(float value);
float expm1_of(float value);

/// Grids of times and standard deviations, by the NumPy functions that diffusers calls. All in float64 unless said otherwise.

/// numpy.linspace(from, to, count).
std::vector<double> linspace(double from, double to, int64_t count);
/// numpy.arange(from, 0, -step).
std::vector<double> arange_down(double from, double step);
/// numpy.interp(x, [0, 1, ...], table): linear between the table's entries, constant beyond its ends.
double interpolate(const std::vector<float>& table, double x);
/// Halves go to the even neighbour.
std::vector<double> rounded(std::vector<double> values);
/// To float32 and back.
std::vector<double> as_float(std::vector<double> values);

/// `count` training times out of 0 ... train_steps - 1, falling. linspace's are fractions.
std::vector<double> spaced_times(const std::string& spacing, int64_t train_steps, int64_t count, int64_t offset);

/// How the standard deviations (sigmas) of a trajectory are spread, beside timestep_spacing.
enum class SigmaSpread { by_time, karras, exponential };
/// Standard deviations from `high` down to `low`: of karras by Karras et al. (2022), equation 5 with rho = 7; of exponential a geometric row.
std::vector<double> spread_sigmas(SigmaSpread spread, double high, double low, int64_t count);

/// sqrt((1 - a) / a) for each alpha, float32: the standard deviation of x_t / sqrt(a).
std::vector<float> training_sigmas(const std::vector<float>& alphas_cumprod);
/// The (fractional) training time at which training_sigmas reaches each sigma, found between neighbours in log space.
std::vector<double> times_of_sigmas(const std::vector<double>& sigmas, const std::vector<float>& training);

}  // namespace syncdr::diffusion
