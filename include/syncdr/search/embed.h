#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/data/dataset.h"
#include "syncdr/search/model.h"

namespace syncdr::search {

struct EmbedOptions {
  std::vector<std::string> domains;  ///< of the dataset
  std::vector<std::string> splits;   ///< empty: all that the domains have. A domain that lacks one is passed over, unless all do
  std::filesystem::path folder;
  int64_t rows = 1024;  ///< images whose features are in a file: the unit of work and of recovery
  int64_t batch = 64;   ///< images that a GPU embeds in one call
};

struct EmbedResult {
  int64_t images = 0;   ///< of this call
  int64_t skipped = 0;  ///< whose features were there
  int64_t parts = 0;    ///< files in the folder
  double seconds = 0;
};

/// All that the features of a dataset's images are a function of: the model's identity, the dataset, and how many are in a file.
io::Identity settings_of(const Model& model, const data::Dataset& dataset, int64_t rows);

/// Writes features of a dataset's images into a folder. Ranks share the files; a file that is there is checked and kept, or made anew where it is damaged.
/// Later calls may add splits and domains. Files have the same bytes on any number of ranks (on CPUs of one kind). All ranks call it. Throws
/// UsageError if the folder holds features of other settings, or no domain has one of the splits; DataError on a broken image; StopRequested on all ranks after
/// a stop signal: what is complete is kept.
EmbedResult embed_dataset(comm::World& world, Model& model, const data::Dataset& dataset, const EmbedOptions& options);

}  // namespace syncdr::search
