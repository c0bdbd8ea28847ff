#include "syncdr/training/loss_scaler.h"

#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "gradients.h"
#include "syncdr/core/error.h"
#include "syncdr/io/json.h"

namespace syncdr::training {

bool LossScaler::unscale(const std::vector<at::Tensor>& parameters) {
  if (!on_) return true;
  const std::vector<at::Tensor> gradients = gradients_of(parameters);
  if (gradients.empty()) return true;
  const auto options = gradients.front().options().dtype(at::kFloat);
  at::Tensor found = at::zeros({1}, options);
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, found, at::full({1}, 1 / scale_, options));
  const bool finite = found.item<float>() == 0;
  constexpr int64_t interval = 2000;
  if (!finite) {
    scale_ /= 2;
    ++skipped_;
    good_steps_ = 0;
    if (scale_ < 0x1p-24)
      throw core::DataError(
          "gradients in float16 are not finite at a loss scale of {} either: weights have grown out of range. Use a lower learning rate, "
          "optimizer.clip, or bf16",
          scale_);
  } else if (++good_steps_ == interval) {
    scale_ = std::min(scale_ * 2, 0x1p126);  // a float must hold it
    good_steps_ = 0;
  }
  return finite;
}

MetricLog::Values LossScaler::figures() const {
  if (!on_) return {};
  return {{"loss_scale", scale_}, {"skipped_steps", static_cast<double>(skipped_)}};
}

void LossScaler::put(Checkpoint& checkpoint) const {
  if (on_) checkpoint.state["loss_scaler"] = {{"scale", scale_}, {"good_steps", good_steps_}, {"skipped", skipped_}};
}

void LossScaler::take(const Checkpoint& checkpoint, const std::string& where) {
  if (!on_) return;
  const boost::json::object& state = io::json_object(checkpoint.state, "loss_scaler", where);
  scale_ = io::json_double(state, "scale", where);
  good_steps_ = io::json_int(state, "good_steps", where);
  skipped_ = io::json_int(state, "skipped", where);
}

}  // namespace syncdr::training
