#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <optional>

#include "syncdr/comm/world.h"
#include "syncdr/io/safetensors.h"
#include "syncdr/io/sole_writer.h"

namespace syncdr::training {

/// Everything a run needs to go on exactly: tensors (model, optimizer, bank, EMA, prefixed "model.", "optimizer.", "bank.", ...) and
/// plain values (position, best score, the configuration it belongs to). Cut independently of the number of ranks.
struct Checkpoint {
  int64_t step = 0;
  io::NamedTensors tensors;
  boost::json::object state;
};

/// A folder of checkpoints step-N/, each complete or absent: on the writer's desk tensors.safetensors and state.json beside the parts that ranks have
/// left there, fsync, manifest.json with hashes last, rename. The newest `keep` (at least two) stay. Written by rank 0 alone, but for the parts.
class Checkpoints {
 public:
  explicit Checkpoints(std::filesystem::path folder, int64_t keep = 2);
  /// From here on this process is the one that writes: no other job that still runs can change what is there. Left-overs of killed runs go.
  void open();
  /// For what else a run seals. Opens the folder, as save does, unless it is open.
  const io::SoleWriter& writer();
  /// Where a checkpoint is made.
  std::filesystem::path desk_of(int64_t step);
  /// Replaces a checkpoint of the same step, and removes those of later steps: a run that saves step N has not gone on from them.
  void save(const Checkpoint& checkpoint);
  /// The newest checkpoint whose hashes are right; damaged ones are passed over with a warning. Nothing if there is none.
  std::optional<Checkpoint> latest() const;
  /// The newest one's step by its name alone, damaged or not. Nothing if there is none.
  std::optional<int64_t> newest_step() const;

 private:
  std::filesystem::path folder_;
  int64_t keep_;
  std::unique_ptr<io::SoleWriter> writer_;
};

/// Saves checkpoints in a thread of its own on rank 0, while training goes on: a step waits for the copy of the tensors only. One is written at a time.
/// All functions are collectives.
class CheckpointWriter {
 public:
  /// Opens the folder on rank 0: other jobs can no longer change it.
  CheckpointWriter(comm::World& world, std::filesystem::path folder);
  /// Waits for what is being written; what goes wrong with it then is lost, so call finish() before.
  ~CheckpointWriter() = default;  // a future of std::async waits for its thread

  Checkpoints& folder() { return folder_; }
  /// parts(folder) is called on every rank, and writes what is that rank's alone as files NAME.safetensors; make() then on rank 0: its tensors may change
  /// after this returns. Waits for the checkpoint before, and throws what went wrong with it, on every rank.
  void save(int64_t step, const std::function<void(const std::filesystem::path&)>& parts, const std::function<Checkpoint()>& make);
  /// Returns when the last checkpoint is durable.
  void finish();

 private:
  comm::World& world_;
  Checkpoints folder_;
  std::future<void> writing_;  ///< on rank 0
};

/// On the CPU, without gradient.
io::NamedTensors copies_of(const io::NamedTensors& tensors);

/// The tensors whose name begins with prefix, without it; and the reverse.
io::NamedTensors take_prefix(const io::NamedTensors& tensors, const std::string& prefix);
void put_prefix(io::NamedTensors& into, const io::NamedTensors& tensors, const std::string& prefix);

}  // namespace syncdr::training
