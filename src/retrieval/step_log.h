#pragma once
#include <chrono>
#include <optional>

#include "syncdr/comm/world.h"
#include "syncdr/retrieval/trainer.h"
#include "syncdr/training/metric_log.h"

namespace syncdr::retrieval {

/// Figures of training steps. They stay on the device until a window is full: one collective and one wait for the GPU serve several steps.
class StepLog {
 public:
  StepLog(comm::World& world, const TrainConfig& config, const std::filesystem::path& file, int64_t first_step);

  /// Before a step's images are waited for: images/s counts all that a step takes, but neither validation nor checkpoints.
  void begin_step();
  /// values [3] as in LossShare; images of all ranks.
  void add(int64_t step, double learning_rate, const at::Tensor& values, int64_t images);
  bool full() const { return static_cast<int64_t>(waiting_.size()) >= window; }
  /// Writes what waits. All ranks call it at the same step. True if any rank has been asked to stop. Throws DataError if a loss is not
  /// finite.
  bool flush();
  void validated(int64_t step, double score);
  /// Makes the lines durable.
  void sync() const {
    if (log_) log_->sync();
  }
  double last_loss() const { return last_loss_; }

 private:
  static constexpr int64_t window = 10;
  struct Step {
    int64_t step;
    double learning_rate;
    at::Tensor values;
    int64_t images;
  };
  void write(const Step& step, const at::Tensor& values, double images_per_second);

  using Clock = std::chrono::steady_clock;
  comm::World& world_;
  const TrainConfig& config_;
  std::optional<training::MetricLog> log_;  // on rank 0
  std::vector<Step> waiting_;
  Clock::time_point since_ = Clock::now();
  double last_loss_ = 0;
};

}  // namespace syncdr::retrieval
