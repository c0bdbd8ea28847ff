#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <vector>

#include "syncdr/training/checkpoint.h"
#include "syncdr/training/metric_log.h"

namespace syncdr::training {

/// Dynamic loss scaling, without which small gradients in float16 become 0 (Micikevicius et al., ICLR 2018): the loss is multiplied by a scale before the
/// backward pass and the gradients divided by it after. A step whose gradients are not finite is skipped and halves the scale; 2,000 steps in a row that are
/// finite double it (PyTorch's GradScaler). One that is off passes everything on and skips nothing.
///
///     parallel.backward(scaler.scale(share));
///     if (scaler.unscale(parallel.parameters())) optimizer.step();
class LossScaler {
 public:
  explicit LossScaler(bool on) : on_(on) {}
  at::Tensor scale(const at::Tensor& loss) const { return on_ ? loss * scale_ : loss; }
  /// The gradients of the global batch, the same on every rank, are divided by the scale. Whether the step is to be made. Waits for a GPU.
  /// Throws DataError when no scale helps.
  bool unscale(const std::vector<at::Tensor>& parameters);

  /// For the log: loss_scale of the next step, and skipped_steps since the run began; nothing where it is off.
  MetricLog::Values figures() const;
  /// A checkpoint's part, "loss_scaler"; and back. `where` names the checkpoint in errors.
  void put(Checkpoint& checkpoint) const;
  void take(const Checkpoint& checkpoint, const std::string& where);

 private:
  bool on_;
  double scale_ = 65536;
  int64_t good_steps_ = 0;  // since the scale last changed
  int64_t skipped_ = 0;
};

}  // namespace syncdr::training
