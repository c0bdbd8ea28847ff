#include "storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include "plot.h"
#include "syncdr/core/error.h"
#include "syncdr/io/json.h"

namespace syncdr::plan {
namespace {

/// "30.1 TB".
std::string bytes_text(double bytes) {
  constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  size_t unit = 0;
  for (; bytes >= 1000 && unit + 1 < std::size(units); ++unit) bytes /= 1000;
  return fmt::format("{:.3g} {}", bytes, units[unit]);
}

}  // namespace

DataFigures data_figures(const DataPlan& plan) {
  const auto images = static_cast<double>(plan.images);
  const auto key = static_cast<double>(plan.name_bytes + 8);  // with a domain's name and its slash
  // Of a row in a shard (offset, checksum, label); of a shard, and of its entry in dataset.json.
  constexpr double columns = 16, hdf5 = 4'100, entry = 180;
  // Of an image, besides its name: in pack's table (image_table.h), in verify (three hashes, a label, its place in an order), in an open shard (data/shard.h).
  constexpr double held = 40, seen = 32, open_row = 20;
  DataFigures figures{.shards = std::ceil(images / static_cast<double>(plan.rows))};
  figures.bytes = images * (plan.image_bytes + columns + key) + figures.shards * hdf5;
  figures.manifest_bytes = figures.shards * entry;
  const double shard = static_cast<double>(std::min(plan.rows, plan.images)) * (2 * plan.image_bytes + 200);  // what is gathered, and read back
  figures.pack_memory = images * (held + static_cast<double>(plan.name_bytes)) + shard;
  figures.verify_memory = images * seen + shard;
  figures.open_memory = images * (open_row + key);
  return figures;
}

void print_data_plan(const Options& options) {
  if (!options.measured.empty() || !options.of.empty() || !options.plot.empty())
    throw core::UsageError(
        "syncdr plan data: takes no --measured, --of or --plot; give --images and, if you have them, --image-bytes and --images-per-second.");
  DataPlan plan;
  std::string text;
  for (const auto& [key, value] : options.values) text += key + " = " + value + "\n";
  core::read_config_text(core::visit_of(plan), text, "syncdr plan data");
  if (plan.images == 0) throw core::UsageError("syncdr plan data: --images is missing.");
  const DataFigures figures = data_figures(plan);
  fmt::print("{} images of {}, {} per shard\n", plan.images, bytes_text(plan.image_bytes), plan.rows);
  fmt::print("  files     {:.0f} shards, {} in all; dataset.json {}\n", figures.shards, bytes_text(figures.bytes), bytes_text(figures.manifest_bytes));
  fmt::print("  memory    beside the program's own 0.5 GB: pack {} on each rank, verify {}, all images open {}\n", bytes_text(figures.pack_memory),
             bytes_text(figures.verify_memory), bytes_text(figures.open_memory));
  if (figures.shards > 1000)
    fmt::print("  open      a split's shards are open together: `ulimit -n` above {:.0f}, or fewer of them (pack --rows)\n", figures.shards);
  fmt::print("{:>6} {:>9}\n", "ranks", "pack");
  boost::json::array points;
  for (const auto ranks : options.ranks) {
    const double units = std::ceil(figures.shards / static_cast<double>(ranks));  // of the rank that packs most
    const double seconds = std::min(units * static_cast<double>(plan.rows), static_cast<double>(plan.images)) / plan.images_per_second;
    fmt::print("{:>6} {:>9}\n", ranks, duration_text(seconds));
    points.push_back({{"ranks", ranks}, {"seconds", seconds}});
  }
  if (options.json.empty()) return;
  io::write_json(options.json, boost::json::object{{"command", options.command},
                                                   {"shards", figures.shards},
                                                   {"bytes", figures.bytes},
                                                   {"manifest_bytes", figures.manifest_bytes},
                                                   {"pack_memory", figures.pack_memory},
                                                   {"verify_memory", figures.verify_memory},
                                                   {"open_memory", figures.open_memory},
                                                   {"points", std::move(points)}});
}

}  // namespace syncdr::plan
