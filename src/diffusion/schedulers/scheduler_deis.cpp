#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>

#include "scheduler_lambda.h"

namespace syncdr::diffusion {
namespace {

/// DEIS, multistep, over log rho with rho = std / signal (Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential Integrator", ICLR 2023): the last
/// noise estimates as a polynomial in log rho, integrated over rho.
class Deis : public LambdaScheduler {
 public:
  Deis(ScheduleConfig schedule, const LambdaGrid& grid, int64_t order, bool lower_order_final)
      : LambdaScheduler(std::move(schedule), grid), order_(order), lower_order_final_(lower_order_final) {}

  void reset() override { answers_.clear(); }

 private:
  // It never steps to sigma 0, where log rho is infinite.
  double last_sigma(double spread) const override { return spread; }

  double rho(int64_t i) const { return double(level(i).std) / double(level(i).signal); }

  /// The integral from rho(i) to rho(i + 1) of the Lagrange polynomial in log rho that is 1 at call i - back and 0 at the others of the last `used` calls.
  double integral(int64_t i, int64_t back, int64_t used) const {
    // The polynomial in l = log rho - log rho(i), lowest power first: steps are short, so its terms differ little.
    std::vector<double> polynomial{1};
    const auto place = [&](int64_t k) { return std::log(rho(i - k) / rho(i)); };
    for (int64_t other = 0; other < used; ++other) {
      if (other == back) continue;
      std::vector<double> next(polynomial.size() + 1, 0.0);
      for (size_t power = 0; power < polynomial.size(); ++power) {
        next[power] -= polynomial[power] * place(other) / (place(back) - place(other));
        next[power + 1] += polynomial[power] / (place(back) - place(other));
      }
      polynomial = std::move(next);
    }
    // By parts: the integral of l^n d rho is rho(i + 1) end^n - n times that of l^(n - 1).
    const double end = std::log(rho(i + 1) / rho(i));
    double sum = 0, of_power = rho(i) * std::expm1(end);
    for (size_t power = 0; power < polynomial.size(); ++power) {
      if (power > 0) of_power = rho(i + 1) * std::pow(end, double(power)) - double(power) * of_power;
      sum += polynomial[power] * of_power;
    }
    return sum;
  }

  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor&) override {
    const Level now = level(i), next = level(i + 1);
    answers_.insert(answers_.begin(), noise_of(output, sample, now));
    if (int64_t(answers_.size()) > order_) answers_.pop_back();
    const bool careful_end = lower_order_final_ && calls() < 15;
    const int64_t used = std::min(int64_t(answers_.size()), careful_end ? calls() - i : order_);
    at::Tensor moved = sample / double(now.signal);
    for (int64_t back = 0; back < used; ++back) moved = moved + integral(i, back, used) * answers_[size_t(back)];
    return double(next.signal) * moved;
  }

  int64_t order_;
  bool lower_order_final_;
  std::vector<at::Tensor> answers_;  // noise estimates, newest first, as many as the order at most
};

}  // namespace

std::unique_ptr<Scheduler> make_deis(ConfigReader& config) {
  refuse_thresholding(config);
  refuse_flow(config);
  // All but the first word of each list are other classes'; the original takes them for the first, so that configurations can be exchanged.
  read_choice(config, "algorithm_type", "deis", {"deis", "dpmsolver", "dpmsolver++"});
  read_choice(config, "solver_type", "logrho", {"logrho", "midpoint", "heun", "bh1", "bh2"});
  const int64_t order = config.integer("solver_order", 2);
  if (order < 1 || order > 3) config.refuse("solver_order", fmt::format("is {}; there are 1 to 3", order));
  const LambdaGrid grid{.sigmas = {.spread = read_sigma_spread(config)}};
  return std::make_unique<Deis>(read_schedule(config, {.name = "DEISMultistepScheduler"}), grid, order, config.boolean("lower_order_final", true));
}

}  // namespace syncdr::diffusion
