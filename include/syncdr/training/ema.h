#pragma once
#include <optional>

#include "syncdr/training/checkpoint.h"

namespace torch::nn {
class Module;
}

namespace syncdr::training {

/// Exponential moving average of a module's state: a <- decay a + (1 - decay) p, with the decay ramped as min(decay, (1 + n) / (10 + n)) at
/// update n so that early averages follow the weights. Integer buffers are copied.
class Ema {
 public:
  Ema(const torch::nn::Module& module, double decay);
  void update(const torch::nn::Module& module);
  const io::NamedTensors& average() const { return average_; }
  int64_t updates() const { return updates_; }
  /// Throws DataError naming `where` and the tensor if one is missing, left over, or of another shape or dtype.
  void load(const io::NamedTensors& average, int64_t updates, const std::string& where);

 private:
  io::NamedTensors average_;
  double decay_;
  int64_t updates_ = 0;
};

/// A checkpoint's part of a moving average, "ema.*" and "ema_updates", where there is one; and back. `where` names the checkpoint in errors.
void put_average(Checkpoint& checkpoint, const std::optional<Ema>& ema);
void take_average(const Checkpoint& checkpoint, std::optional<Ema>& ema, const std::string& where);

}  // namespace syncdr::training
