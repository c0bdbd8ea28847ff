#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <optional>

#include "syncdr/io/safetensors.h"

namespace syncdr::training {

/// Everything a run needs to go on exactly: tensors (model, optimizer, bank, EMA, prefixed "model.", "optimizer.", "bank.", ...) and
/// plain values (position, best score, the configuration it belongs to). Cut independently of the number of ranks.
struct Checkpoint {
  int64_t step = 0;
  io::NamedTensors tensors;
  boost::json::object state;
};

/// A folder of checkpoints step-N/, each complete or absent: step-N.tmp/ with tensors.safetensors and state.json, fsync, manifest.json with
/// hashes last, rename. The newest `keep` (at least two) stay. Written by rank 0 alone. Left-overs of killed runs go with the next save.
class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::filesystem::path folder, int64_t keep = 2);
  /// Replaces a checkpoint of the same step, and removes those of later steps: a run that saves step N has not gone on from them.
  void save(const Checkpoint& checkpoint);
  /// The newest checkpoint whose hashes are right; damaged ones are passed over with a warning. Nothing if there is none.
  std::optional<Checkpoint> latest() const;

 private:
  std::filesystem::path folder_;
  int64_t keep_;
};

/// The tensors whose name begins with prefix, without it; and the reverse.
io::NamedTensors take_prefix(const io::NamedTensors& tensors, const std::string& prefix);
void put_prefix(io::NamedTensors& into, const io::NamedTensors& tensors, const std::string& prefix);

}  // namespace syncdr::training
