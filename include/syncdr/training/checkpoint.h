#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <memory>
#include <optional>

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

/// A folder of checkpoints step-N/, each complete or absent: on the writer's desk tensors.safetensors and state.json, fsync, manifest.json with
/// hashes last, rename. The newest `keep` (at least two) stay. Written by rank 0 alone.
class Checkpoints {
 public:
  explicit Checkpoints(std::filesystem::path folder, int64_t keep = 2);
  /// From here on this process is the one that writes: no other job that still runs can change what is there. Left-overs of killed runs go.
  void open();
  /// For what else a run seals. Opens the folder, as save does, unless it is open.
  const io::SoleWriter& writer();
  /// Replaces a checkpoint of the same step, and removes those of later steps: a run that saves step N has not gone on from them.
  void save(const Checkpoint& checkpoint);
  /// The newest checkpoint whose hashes are right; damaged ones are passed over with a warning. Nothing if there is none.
  std::optional<Checkpoint> latest() const;

 private:
  std::filesystem::path folder_;
  int64_t keep_;
  std::unique_ptr<io::SoleWriter> writer_;
};

/// The tensors whose name begins with prefix, without it; and the reverse.
io::NamedTensors take_prefix(const io::NamedTensors& tensors, const std::string& prefix);
void put_prefix(io::NamedTensors& into, const io::NamedTensors& tensors, const std::string& prefix);

}  // namespace syncdr::training
