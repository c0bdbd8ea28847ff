#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// Grids of times and standard deviations, number for number those of the NumPy functions that diffusers calls. All in float64 unless said
/// otherwise.
namespace syncdr::diffusion {

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

/// Standard deviations from `high` down to `low`: Karras et al. (2022), equation 5 with rho = 7; and a geometric row.
std::vector<double> karras_sigmas(double high, double low, int64_t count);
std::vector<double> exponential_sigmas(double high, double low, int64_t count);

/// sqrt((1 - a) / a) for each alpha, float32: the standard deviation of x_t / sqrt(a).
std::vector<float> training_sigmas(const std::vector<float>& alphas_cumprod);
/// The (fractional) training time at which training_sigmas reaches each sigma, found between neighbours in log space.
std::vector<double> times_of_sigmas(const std::vector<double>& sigmas, const std::vector<float>& training);

}  // namespace syncdr::diffusion
