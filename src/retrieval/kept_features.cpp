#include "kept_features.h"

#include <ATen/ops/cat.h>

#include <boost/json/serialize.hpp>

#include "syncdr/core/progress.h"
#include "syncdr/core/stop.h"
#include "syncdr/data/crew.h"
#include "syncdr/data/loader.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/claims.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/hdf5.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"
#include "syncdr/retrieval/features.h"

namespace syncdr::retrieval {
namespace {

namespace fs = std::filesystem;

constexpr int64_t block_rows = 256;  // the unit of work and of recovery
constexpr uint64_t views_seed = 0;   // trainings with several seeds share the features: a seed chooses among the views
constexpr int64_t chunk_rows = 32;   // whose pixels, of all views, are in memory at a time

int64_t times_computed = 0;  // in this process, on every rank alike: a counter of claims serves once

/// All that the features of a dataset's images are a function of.
io::Identity identity_of(Encoder& encoder, const data::Dataset& dataset, const TrainConfig& config) {
  data::AugmentConfig augment = config.augment;
  io::Identity identity = io::identity_of(core::visit_of(augment), "train.augment");
  identity.emplace("train.encoder.name", config.encoder.name);
  identity.emplace("train.kept_views", std::to_string(config.kept_views));
  identity.emplace("backbone", nn::state_hash(encoder->backbone()));
  identity.emplace("dataset", io::hash_file(dataset.root() / "dataset.json"));
  identity.emplace("format", "3");  // a checksum for each view, the same views for all seeds
  return identity;
}

/// Rows [first, last) of a shard, each in all its views: [rows * (views + 1), 3, S, S] uint8, channels last.
at::Tensor views_of(const data::ShardReader& shard, const std::string& name, int64_t first, int64_t last, const TrainConfig& config) {
  const int64_t views = config.kept_views, side = config.augment.crop, enlarged = data::pixels_for(config.augment);
  at::Tensor pixels = at::empty({(last - first) * (views + 1), side, side, 3}, at::kByte);
  data::each_image(last - first, [&](int64_t i) {
    uint8_t* out = pixels.data_ptr<uint8_t>() + i * (views + 1) * pixels.stride(0);
    const uint64_t key = io::hash64(fmt::format("{}/{}", name, first + i));
    const data::Image image = shard.image(first + i, enlarged);
    for (int64_t view = 0; view < views; ++view, out += pixels.stride(0))
      data::augment(image, config.augment, core::Random(views_seed, core::Purpose::augmentation, key, static_cast<uint32_t>(view), 1), out);
    if (enlarged == config.augment.resize) data::evaluation_view(image, config.augment, out);
    else data::evaluation_view(shard.image(first + i, config.augment.resize), config.augment, out);
  });
  return pixels.permute({0, 3, 1, 2});
}

/// A block of a shard: its rows [first, last), and the file that keeps their features.
struct Task {
  const data::ShardReader* shard;
  std::string name;  // of the shard in its dataset
  int64_t first, last;
  fs::path file;
};

std::vector<Task> tasks_of(const data::Dataset& dataset, const std::vector<const data::ShardReader*>& shards, const fs::path& folder) {
  std::vector<Task> tasks;
  for (const data::ShardReader* shard : shards) {
    const std::string name = shard->path().lexically_relative(dataset.root()).generic_string();
    for (int64_t first = 0; first < shard->rows(); first += block_rows)
      tasks.push_back({shard, name, first, std::min(first + block_rows, shard->rows()), folder / name / fmt::format("rows-{:08}.h5", first)});
  }
  return tasks;
}

std::span<const uint8_t> bytes_of(const float* values, int64_t count) {
  return {reinterpret_cast<const uint8_t*>(values), static_cast<size_t>(count) * sizeof(float)};
}

/// pooled [rows * (views + 1), F] float on the CPU, contiguous.
void write_block(const Task& task, const at::Tensor& pooled, int64_t views) {
  const int64_t width = pooled.size(1);
  const auto* values = pooled.const_data_ptr<float>();
  std::vector<uint32_t> checksums;
  for (int64_t view = 0; view < pooled.size(0); ++view) checksums.push_back(io::crc32c(bytes_of(values + view * width, width)));
  io::AtomicFile file(task.file, io::process_token());
  io::Hdf5Writer writer(file.temporary());
  writer.attribute("format", "syncdr-features");
  writer.attribute("rows", task.last - task.first);
  writer.attribute("views", views + 1);
  writer.attribute("width", width);
  writer.write("/features", std::vector<float>(values, values + pooled.numel()));
  writer.write("/crc32c", checksums);
  writer.close();
  file.commit_unless_there();
}

void compute(comm::World& world, Encoder& encoder, const Task& task, const TrainConfig& config) {
  const int64_t call = images_a_call(world.device(), 128), chunks = (task.last - task.first + chunk_rows - 1) / chunk_rows;
  data::Prefetcher<at::Tensor> views(
      [&](int64_t chunk) {
        const int64_t first = task.first + chunk * chunk_rows;
        return views_of(*task.shard, task.name, first, std::min(first + chunk_rows, task.last), config);
      },
      0, chunks, world.threads(config.loader_threads), /*depth=*/2);
  std::vector<at::Tensor> pooled;
  while (!views.done()) pooled.push_back(pooled_of(encoder, views.next(), world.device(), call).to(at::kCPU, at::kFloat));
  write_block(task, at::cat(pooled), config.kept_views);
}

}  // namespace

KeptFeatures::KeptFeatures(comm::World& world, Encoder& encoder, const data::Dataset& dataset, const std::vector<const data::ShardReader*>& shards,
                           const TrainConfig& config, const fs::path& folder)
    : views_(config.kept_views), width_(encoder->backbone().features()) {
  encoder->eval();
  const io::Identity identity = identity_of(encoder, dataset, config);
  const std::string settings = boost::json::serialize(io::to_json(identity));
  const fs::path place = folder / io::hash128(settings);
  world.root_only("making the folder of kept features", [&] { io::write_file(place / "settings.json", settings); });
  const std::vector<Task> tasks = tasks_of(dataset, shards, place);
  const auto count = static_cast<int64_t>(tasks.size());
  core::Progress progress("features of the frozen backbone", count, "blocks");
  const std::string counter = fmt::format("kept features, time {}", ++times_computed);
  for (int64_t index = 0; (index = world.add(counter, 1, "claiming a block of features") - 1) < count && !core::stop_requested();) {
    const Task& task = tasks[static_cast<size_t>(index)];
    if (!fs::exists(task.file)) compute(world, encoder, task, config);
    progress.advance(1);
  }
  if (world.any(core::stop_requested(), "agreeing whether to stop"))
    throw core::StopRequested("{}: stopped on request while features were computed; what is complete is kept, and the same command goes on", place.string());
  for (const Task& task : tasks) blocks_[task.shard->path()].push_back(open(task.file, task.last - task.first));
}

KeptFeatures::Block KeptFeatures::open(const fs::path& file, int64_t rows) const {
  const io::Hdf5Reader hdf5(file);
  const io::Extent extent = hdf5.extent("/features");
  Block block{.file = io::InputFile(file), .features = extent.offset, .checksums = hdf5.read<uint32_t>("/crc32c")};
  const int64_t views = rows * (views_ + 1);
  const uint64_t bytes = static_cast<uint64_t>(views * width_) * sizeof(float);
  if (extent.bytes != bytes || std::ssize(block.checksums) != views)
    throw core::DataError("{}: holds {} bytes of {} views, {} of {} are needed. Remove it: it is computed anew", file.string(), extent.bytes,
                          block.checksums.size(), bytes, views);
  return block;
}

void KeptFeatures::read(const data::Place& place, int64_t view, std::span<float> into) const {
  const auto& blocks = blocks_.at(place.shard->path());
  const Block& block = blocks[static_cast<size_t>(place.row / block_rows)];
  const int64_t row = place.row % block_rows;
  const auto number = static_cast<uint64_t>(row * (views_ + 1) + view);
  const std::span bytes(reinterpret_cast<uint8_t*>(into.data()), into.size_bytes());
  block.file.read_at(block.features + number * bytes.size(), bytes);
  if (io::crc32c(bytes) != block.checksums[number])
    throw core::DataError("{}: the features of its row {}, view {}, do not match their checksum: the file was damaged. Remove it: it is computed anew",
                          block.file.path().string(), row, view);
}

}  // namespace syncdr::retrieval
