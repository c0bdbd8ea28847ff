#include <ATen/ops/mm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sort.h>
#include <benchmark/benchmark.h>

#include <fstream>
#include <optional>

#include "syncdr/evaluation/metrics.h"

/// Exact search of the 15 nearest beside the product that it cannot do without, and beside three full sorts of the similarity matrix, which is what published
/// code does. Arguments: queries, gallery, features. bench_search_vs_faiss.py alternates these with FAISS. `memory_of_...`: 50,000 x 50,000, half a minute
/// each.
namespace {

using namespace syncdr;

struct Features {
  at::Tensor queries, gallery;
  explicit Features(const benchmark::State& state) {
    at::manual_seed(0);
    queries = unit_rows(state.range(0), state.range(2));
    gallery = unit_rows(state.range(1), state.range(2));
  }
  static at::Tensor unit_rows(int64_t rows, int64_t columns) {
    auto values = at::randn({rows, columns});
    return values.div_(values.norm(2, 1, true));
  }
};

void count(benchmark::State& state) {
  state.counters["queries/s"] = benchmark::Counter(static_cast<double>(state.range(0)), benchmark::Counter::kIsIterationInvariantRate);
}

void top_k(benchmark::State& state) {
  const Features features(state);
  for (auto _ : state) benchmark::DoNotOptimize(evaluation::top_k(features.queries, features.gallery, 15).indices);
  count(state);
}

void three_sorts(benchmark::State& state) {
  const Features features(state);
  for (auto _ : state) {
    const auto similarities = at::mm(features.queries, features.gallery.t());
    for (const int64_t k : {1, 5, 15}) benchmark::DoNotOptimize(std::get<1>(at::sort(similarities, 1, /*descending=*/true)).narrow(1, 0, k).contiguous());
  }
  count(state);
}

/// LibTorch's, into memory that is there.
void similarities_alone(benchmark::State& state) {
  const Features features(state);
  auto similarities = at::mm(features.queries, features.gallery.t());
  for (auto _ : state) at::mm_out(similarities, features.queries, features.gallery.t());
  count(state);
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->Args({2280, 2280, 128})->Args({1000, 10000, 512})->Args({256, 100000, 512})->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();
}
BENCHMARK(top_k)->Apply(sizes);
BENCHMARK(three_sorts)->Apply(sizes);
BENCHMARK(similarities_alone)->Apply(sizes);

/// A line of /proc/self/status, in bytes.
double status(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;)
    if (double kibibytes = 0; word == key + ":" && file >> kibibytes) return 1024 * kibibytes;
  return 0;
}

// The most memory that features and search take, as a multiple of the features; Linux alone.
void memory(benchmark::State& state, const auto& search) {
  std::optional<Features> features;
  evaluation::top_k(at::randn({64, 512}), at::randn({4096, 512}), 15);  // threads and kernels are there
  const double before = status("VmRSS");
  features.emplace(state);
  for (auto _ : state) {
    std::ofstream("/proc/self/clear_refs") << 5;  // the peak begins anew
    benchmark::DoNotOptimize(search(*features));
  }
  state.counters["memory/features"] = (status("VmHWM") - before) / static_cast<double>(4 * (state.range(0) + state.range(1)) * state.range(2));
  count(state);
}

void memory_of_top_k(benchmark::State& state) {
  memory(state, [](const Features& features) { return evaluation::top_k(features.queries, features.gallery, 15).indices; });
}

/// All that an evaluation asks for by default, of 345 categories.
void memory_of_all_measures(benchmark::State& state) {
  using Kind = evaluation::Measure::Kind;
  const std::vector<evaluation::Measure> all{1, 5, 15, 50, 100, 200, {Kind::recall, 1}, {Kind::recall, 5}, {Kind::recall, 10}, {Kind::average_precision, 0}};
  const auto query_labels = at::randint(0, 345, {state.range(0)}, at::kLong), gallery_labels = at::randint(0, 345, {state.range(1)}, at::kLong);
  memory(state,
         [&](const Features& features) { return evaluation::measure(features.queries, features.gallery, query_labels, gallery_labels, all, 15).nearest; });
}

BENCHMARK(memory_of_top_k)->Args({50000, 50000, 512})->Iterations(1)->Unit(benchmark::kSecond)->UseRealTime();
BENCHMARK(memory_of_all_measures)->Args({50000, 50000, 512})->Iterations(1)->Unit(benchmark::kSecond)->UseRealTime();

}  // namespace
