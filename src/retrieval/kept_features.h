#pragma once
#include <filesystem>
#include <map>
#include <span>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/file.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/retrieval/trainer.h"

namespace syncdr::retrieval {

/// What a frozen backbone makes of the images of some shards, computed once: of each image `views` augmented views and the evaluation view. Ranks share
/// the work; a head is then trained on what lies in files (the format stands in this room's README).
///
/// The files lie in a folder that is named by all that they are a function of, so that the arms of a run share what they have in common, and other settings
/// get files of their own.
class KeptFeatures {
 public:
  /// Computes what is missing. shards: all that the training reads, files of the dataset. All ranks call it. Throws DataError on a broken image, IoError
  /// where files cannot be written, StopRequested on all ranks after a stop signal: what is complete is kept.
  KeptFeatures(comm::World& world, Encoder& encoder, const data::Dataset& dataset, const std::vector<const data::ShardReader*>& shards,
               const TrainConfig& config, const std::filesystem::path& folder);

  int64_t views() const { return views_; }
  int64_t width() const { return width_; }
  /// An image's features [width()] of a view from 0 to views() - 1, or of the evaluation view, number views(). From several threads. Throws DataError if the
  /// file was damaged.
  void read(const data::Place& place, int64_t view, std::span<float> into) const;

 private:
  struct Block {
    io::InputFile file;
    uint64_t features = 0;            // where they begin in the file
    std::vector<uint32_t> checksums;  // of each view
  };
  Block open(const std::filesystem::path& file, int64_t rows) const;

  int64_t views_, width_;
  std::map<std::filesystem::path, std::vector<Block>> blocks_;  // of each shard
};

}  // namespace syncdr::retrieval
