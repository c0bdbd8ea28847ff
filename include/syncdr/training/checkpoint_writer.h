#pragma once
#include <functional>
#include <future>

#include "syncdr/comm/world.h"
#include "syncdr/training/checkpoint.h"

namespace syncdr::training {

/// Saves checkpoints in a thread of its own on rank 0, while training goes on: a step waits for the copy of the tensors only. One is written at a time.
/// All functions are collectives.
class CheckpointWriter {
 public:
  /// Opens the folder on rank 0: other jobs can no longer change it.
  CheckpointWriter(comm::World& world, std::filesystem::path folder, int64_t keep = 2);
  /// Waits for what is being written; what goes wrong with it then is lost, so call finish() before.
  ~CheckpointWriter();

  Checkpoints& folder() { return folder_; }
  /// make() is called on rank 0; its tensors may change after this returns. Waits for the checkpoint before, and throws what went wrong with it, on every
  /// rank.
  void save(const std::function<Checkpoint()>& make);
  /// Returns when the last checkpoint is durable.
  void finish();

 private:
  comm::World& world_;
  Checkpoints folder_;
  std::future<void> writing_;  ///< on rank 0
};

}  // namespace syncdr::training
