#include <benchmark/benchmark.h>

#include "syncdr/evaluation/search.h"

/// Exact search of the 15 nearest: tiles with a running top-k against a full sort of the similarity matrix (which published code does three
/// times). Arguments: queries, gallery, features.
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
    const auto values = at::randn({rows, columns});
    return values / values.norm(2, 1, true);
  }
};

void count(benchmark::State& state) {
  state.counters["queries/s"] = benchmark::Counter(static_cast<double>(state.range(0)), benchmark::Counter::kIsIterationInvariantRate);
}

void tiled_top_k(benchmark::State& state) {
  const Features features(state);
  for (auto _ : state) benchmark::DoNotOptimize(evaluation::top_k(features.queries, features.gallery, 15).indices);
  count(state);
}

void full_sort(benchmark::State& state) {
  const Features features(state);
  for (auto _ : state) {
    const auto order = std::get<1>(at::sort(at::mm(features.queries, features.gallery.t()), 1, /*descending=*/true));
    benchmark::DoNotOptimize(order.narrow(1, 0, 15).contiguous());
  }
  count(state);
}

/// What neither can avoid.
void similarities_alone(benchmark::State& state) {
  const Features features(state);
  for (auto _ : state) benchmark::DoNotOptimize(at::mm(features.queries, features.gallery.t()));
  count(state);
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->Args({2280, 2280, 128})->Args({1000, 10000, 512})->Args({256, 100000, 512})->Unit(benchmark::kMillisecond)->UseRealTime();
}
BENCHMARK(tiled_top_k)->Apply(sizes);
BENCHMARK(full_sort)->Apply(sizes);
BENCHMARK(similarities_alone)->Apply(sizes);

}  // namespace
