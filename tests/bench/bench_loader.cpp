#include <benchmark/benchmark.h>

#include <filesystem>

#include "syncdr/core/error.h"
#include "syncdr/data/loader.h"
#include "syncdr/retrieval/encoder.h"

/// How many images per second one thread of the loader makes: SYNCDR_DATASET names a dataset of `syncdr-data emoji`; for `photos` any other.
namespace {

using namespace syncdr;

const data::Dataset& dataset() {
  const char* folder = std::getenv("SYNCDR_DATASET");
  if (folder == nullptr) throw core::UsageError("SYNCDR_DATASET is not set: make a dataset with `syncdr-data emoji` or `pack` and name its folder");
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

/// Training views of a domain as the paper's, up to the encoder's input: for bench_loader_vs_torchvision.py.
void photos(benchmark::State& state) {
  const std::vector<std::string>& domains = dataset().manifest().domains;
  const data::PairSet set(dataset(), domains.back(), domains.front(), "");
  const data::BatchOrder order(set.size(), 64, 0, 0);
  at::set_num_threads(1);
  int64_t step = 0;
  for (auto _ : state) {
    const auto entries = order.entries(step / order.batches_per_epoch(), step % order.batches_per_epoch(), 0, 64);
    benchmark::DoNotOptimize(retrieval::normalise_images(data::load_pairs(set, entries, {}, 0, step++).images, at::kCPU));
  }
  state.SetItemsProcessed(state.iterations() * 64);
}
BENCHMARK(photos)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();

/// The order alone: what a rank pays to know its slice of a batch of a million images.
void order_of_a_million(benchmark::State& state) {
  const data::BatchOrder order(1'000'000, 1024, 0, 0);
  for (auto _ : state) benchmark::DoNotOptimize(order.entries(3, 17, 0, 1024));
  state.SetItemsProcessed(state.iterations() * 1024);
}
BENCHMARK(order_of_a_million)->Unit(benchmark::kMillisecond);

}  // namespace
