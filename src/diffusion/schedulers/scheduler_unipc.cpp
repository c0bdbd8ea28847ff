#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "scheduler_lambda.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

struct UniPcConfig {
  int64_t order = 2;
  bool predicts_original = true, bh2 = true, lower_order_final = true, end_at_spread = false;
  std::vector<int64_t> uncorrected;  ///< steps whose end is not corrected
};

/// UniPC (Zhao et al., "UniPC: A Unified Predictor-Corrector Framework", NeurIPS 2023): a step of UniP, which UniC does again at no call's cost once the
/// network has seen where it led to.
class UniPc : public LambdaScheduler {
 public:
  UniPc(ScheduleConfig schedule, const LambdaGrid& grid, UniPcConfig config) : LambdaScheduler(std::move(schedule), grid), config_(std::move(config)) {}

  void reset() override {
    answers_.clear();
    before_.reset();
  }

 private:
  /// One update by B(h), from one level to the next: keep x - gain m_0 - sum of weight_k (m_k - m_0), with m_k the answer k calls before the level, and m_-1
  /// the one after it (of the corrector).
  struct Update {
    double keep, gain;
    std::vector<double> weights;  ///< of m_1, m_2, ...
    double correction = 0;        ///< of m_-1
  };

  double last_sigma(double spread) const override { return config_.end_at_spread ? spread : 0; }

  /// From level i with answers of `order` calls. Rounded as the original rounds it: b is a difference of close numbers.
  Update update(int64_t i, int64_t order, bool corrects) const {
    const Level now = level(i), next = level(i + 1);
    const float h = lambda(i + 1) - lambda(i), signed_h = config_.predicts_original ? -h : h, phi = expm1_of(signed_h);
    const float amplitude = config_.predicts_original ? next.signal : next.std, b_of_h = config_.bh2 ? phi : signed_h;
    Update made{.keep = config_.predicts_original ? next.std / now.std : next.signal / now.signal, .gain = amplitude * phi, .weights = {}};
    if (h == 0) return made;  // the last step of a spread's grid that ends at its own least sigma
    std::vector<float> ratios;
    for (int64_t k = 1; k < order; ++k) ratios.push_back((lambda(i - k) - lambda(i)) / h);
    std::vector<float> places = ratios;
    if (corrects) places.push_back(1);
    const std::vector<float> solved = solve(places, signed_h, phi, b_of_h);
    const float scale = amplitude * b_of_h;
    for (size_t k = 0; k < ratios.size(); ++k) made.weights.push_back(double(scale * (solved[k] / ratios[k])));
    if (corrects) made.correction = double(scale * solved.back());
    return made;
  }

  /// rho of equation 5: sum over k of ratio_k^(n - 1) rho_k = n! phi_(n + 1)(h) / B(h) for n = 1 ... K. Of one ratio it is a half, as the authors simplify it.
  static std::vector<float> solve(const std::vector<float>& ratios, float h, float phi, float b_of_h) {
    const auto count = int64_t(ratios.size());
    if (count < 2) return std::vector<float>(ratios.size(), 0.5F);
    std::vector<float> powers, sums;
    float phi_next = phi / h - 1, factorial = 1;
    for (int64_t n = 1; n <= count; ++n) {
      for (const float ratio : ratios) powers.push_back(std::pow(ratio, float(n - 1)));
      sums.push_back(phi_next * factorial / b_of_h);
      factorial *= float(n + 1);
      phi_next = phi_next / h - 1 / factorial;
    }
    const at::Tensor rho = at::linalg_solve(at::tensor(powers).view({count, count}), at::tensor(sums));
    return {rho.const_data_ptr<float>(), rho.const_data_ptr<float>() + count};
  }

  /// answers: newest first, of the level that the update begins at.
  static at::Tensor apply(const Update& update, const at::Tensor& sample, std::span<const at::Tensor> answers, const at::Tensor& after) {
    at::Tensor moved = update.keep * sample - update.gain * answers[0];
    for (size_t k = 0; k < update.weights.size(); ++k) moved = moved - update.weights[k] * (answers[k + 1] - answers[0]);
    return after.defined() ? moved - update.correction * (after - answers[0]) : moved;
  }

  at::Tensor corrected(const at::Tensor& sample, const at::Tensor& answer, int64_t i) const {
    const auto& off = config_.uncorrected;
    if (!before_.defined() || std::find(off.begin(), off.end(), i - 1) != off.end()) return sample;
    return apply(update(i - 1, order_, true), before_, answers_, answer);
  }

  at::Tensor advance(const at::Tensor& output, int64_t i, const at::Tensor& sample, const at::Tensor&) override {
    const at::Tensor answer = config_.predicts_original ? original_of(output, sample, level(i)) : noise_of(output, sample, level(i));
    before_ = corrected(sample, answer, i);
    answers_.insert(answers_.begin(), answer);
    if (int64_t(answers_.size()) > config_.order) answers_.pop_back();
    order_ = std::min(int64_t(answers_.size()), config_.lower_order_final ? calls() - i : config_.order);
    return apply(update(i, order_, false), before_, answers_, {});
  }

  UniPcConfig config_;
  std::vector<at::Tensor> answers_;  // newest first, as many as the order at most
  at::Tensor before_;                // the sample that the last step began with
  int64_t order_ = 0;                // of the last step
};

/// Combinations of which the original makes NaN: the last step goes to sigma 0, where lambda is infinite.
void refuse_infinite_step(const ConfigReader& config, const UniPcConfig& unipc) {
  if (unipc.end_at_spread) return;
  const std::string why = "is false, for which the last sigma may not be 0: set \"final_sigmas_type\": \"sigma_min\"";
  if (!unipc.predicts_original) config.refuse("predict_x0", why);
  if (unipc.order > 1 && !unipc.lower_order_final) config.refuse("lower_order_final", why);
}

}  // namespace

std::unique_ptr<Scheduler> make_unipc(ConfigReader& config) {
  refuse_thresholding(config);
  refuse_flow(config);
  config.only("solver_p", nullptr);
  UniPcConfig unipc;
  unipc.order = config.integer("solver_order", 2);
  if (unipc.order < 1 || unipc.order > 3) config.refuse("solver_order", fmt::format("is {}; 1 to 3 are supported", unipc.order));
  // The last three are other classes'; the original takes them for bh2, so that configurations can be exchanged.
  unipc.bh2 = read_choice(config, "solver_type", "bh2", {"bh1", "bh2", "midpoint", "heun", "logrho"}) != "bh1";
  unipc.predicts_original = config.boolean("predict_x0", true);
  unipc.lower_order_final = config.boolean("lower_order_final", true);
  unipc.end_at_spread = read_choice(config, "final_sigmas_type", "zero", {"zero", "sigma_min"}) == "sigma_min";
  unipc.uncorrected = config.integers("disable_corrector", {});
  refuse_infinite_step(config, unipc);
  const LambdaGrid grid{.sigmas = read_sigma_range(config)};
  const ScheduleTraits traits{.name = "UniPCMultistepScheduler", .can_rescale = true, .divides_by_alpha = true};
  return std::make_unique<UniPc>(read_schedule(config, traits), grid, std::move(unipc));
}

}  // namespace syncdr::diffusion
