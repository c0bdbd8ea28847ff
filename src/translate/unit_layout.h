#pragma once
#include <fmt/format.h>
#include <filesystem>
#include <string>
#include <vector>

#include "run_masks.h"
#include "run_prompts.h"
#include "syncdr/data/dataset.h"

namespace syncdr::translate {

/// One run as every rank sees it: which images each unit holds, and where it lies. Image p of a unit is variant p % variants of its row p / variants.
struct UnitLayout {
  data::ShardList rows;  ///< the source
  RunPrompts prompts;
  RunMasks masks;
  std::filesystem::path folder;               ///< of the units
  data::ShardHeader header;                   ///< of every unit
  std::map<std::string, std::string> hashes;  ///< of files in the folder, where a finished run has recorded them
  uint64_t seed = 0;
  int64_t size = 0, batch = 0, variants = 1;
  std::vector<int64_t> starts;  ///< [units + 1] first row of each unit, and the number of rows
  int64_t codec_threads = 1;

  /// Of the translator's images.
  std::vector<int64_t> batch_shape() const { return {batch, masks.given() ? 4 : 3, size, size}; }
  int64_t units() const { return static_cast<int64_t>(starts.size()) - 1; }
  int64_t images() const { return rows.rows() * variants; }
  int64_t first_row_of(int64_t unit) const { return starts[static_cast<size_t>(unit)]; }
  int64_t images_of(int64_t unit) const { return (first_row_of(unit + 1) - first_row_of(unit)) * variants; }
  int64_t row_of(int64_t unit, int64_t position) const { return first_row_of(unit) + position / variants; }
  int32_t variant_of(int64_t position) const { return static_cast<int32_t>(position % variants); }
  std::string file_of(int64_t unit) const { return fmt::format("unit-{:05}.h5", unit); }
  std::filesystem::path path_of(int64_t unit) const { return folder / file_of(unit); }

  /// What the shard says about an image of a unit.
  data::SourceRow source_of(int64_t unit, int64_t position, int32_t status) const {
    const auto row = row_of(unit, position);
    const auto [shard, row_in_shard] = rows.locate(row);
    return {.key = rows.key(row),
            .shard = static_cast<int32_t>(shard),
            .row = row_in_shard,
            .prompt = prompts.of(row),
            .variant = variant_of(position),
            .seed = static_cast<int64_t>(seed),
            .status = status};
  }
};

/// Status of an image in its SourceRow.
enum Status : int32_t { good = 0, redrawn = 1, quarantined = 2 };

}  // namespace syncdr::translate
