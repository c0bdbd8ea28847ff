#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "syncdr/core/config.h"
#include "syncdr/plan/plan.h"

/// What a dataset takes: files, bytes, memory, and the time to pack it. README.md beside this says where the figures come from.
namespace syncdr::plan {

struct DataPlan {
  int64_t images = 0;
  double image_bytes = 30'000;
  int64_t name_bytes = 30;
  int64_t rows = 4096;
  double images_per_second = 1000;

  void visit(core::Fields& field) {
    field(images, "images", "images of the dataset", core::between(0, 1e12));
    field(image_bytes, "image_bytes", "bytes of a stored image", core::at_least(0));
    field(name_bytes, "name_bytes", "characters of an image's path in its domain", core::between(1, 4096));
    field(rows, "rows", "images per shard (pack --rows)", core::between(1, 1e6));
    field(images_per_second, "images_per_second", "images that a rank of `syncdr-data pack` packs per second", core::above(0));
  }
};

struct DataFigures {
  double shards = 0, bytes = 0, manifest_bytes = 0;  ///< files, their bytes, and those of dataset.json
  double pack_memory = 0, verify_memory = 0,
         open_memory = 0;  ///< bytes beside the program's own: of each rank that packs, of verify, of one that has all images open
};
DataFigures data_figures(const DataPlan& plan);

/// As print_plan.
void print_data_plan(const Options& options);

}  // namespace syncdr::plan
