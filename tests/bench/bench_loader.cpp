#include <benchmark/benchmark.h>

#include <filesystem>

#include "syncdr/core/error.h"
#include "syncdr/data/loader.h"

/// How many images per second one thread of the loader makes: SYNCDR_DATASET names a dataset of `syncdr-data emoji`.
namespace {

using namespace syncdr;

const data::Dataset& dataset() {
  const char* folder = std::getenv("SYNCDR_DATASET");
  if (folder == nullptr) throw core::UsageError("SYNCDR_DATASET is not set: make a dataset with `syncdr-data emoji` and name its folder");
  static const data::Dataset opened(folder);
  return opened;
}

data::AugmentConfig emoji_config() {
  data::AugmentConfig config;
  config.resize = config.crop = 64;
  config.flip = 0, config.rotation = 10, config.scale = 0.1, config.shift = 0.05, config.grey = 0.7;
  return config;
}

void training_pairs(benchmark::State& state) {
  const data::PairSet set(dataset(), "colour", {"ink"}, {{"true"}});
  const data::BatchOrder order(set.size(), 128, 0, 0);
  int64_t step = 0;
  for (auto _ : state) {
    const auto entries = order.entries(step / order.batches_per_epoch(), step % order.batches_per_epoch(), 0, 128);
    benchmark::DoNotOptimize(data::load_pairs(set, entries, emoji_config(), 0, step++).images);
  }
  state.SetItemsProcessed(state.iterations() * 2 * 128);
}
BENCHMARK(training_pairs)->Unit(benchmark::kMillisecond);

void evaluation_images(benchmark::State& state) {
  const auto list = dataset().real("colour", "test");
  for (auto _ : state) benchmark::DoNotOptimize(data::load_evaluation(list, 0, 512, emoji_config()));
  state.SetItemsProcessed(state.iterations() * 512);
}
BENCHMARK(evaluation_images)->Unit(benchmark::kMillisecond);

/// The order alone: what a rank pays to know its slice of a batch of a million images.
void order_of_a_million(benchmark::State& state) {
  const data::BatchOrder order(1'000'000, 1024, 0, 0);
  for (auto _ : state) benchmark::DoNotOptimize(order.entries(3, 17, 0, 1024));
  state.SetItemsProcessed(state.iterations() * 1024);
}
BENCHMARK(order_of_a_million)->Unit(benchmark::kMillisecond);

}  // namespace
