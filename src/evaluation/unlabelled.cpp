#include "syncdr/evaluation/unlabelled.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <cmath>
#include <limits>

#include "syncdr/core/error.h"
#include "syncdr/nn/one_thread.h"

namespace syncdr::evaluation {
namespace {

constexpr int64_t tile_rows = 512;

// Sum of exp(-2 d^2) over pairs (i, j) with i < j, i of one tile of rows and j of another or the same.
double sum_of_tile(const at::Tensor& features, int64_t first, int64_t other) {
  const auto rows = features.slice(0, first, first + tile_rows), columns = features.slice(0, other, other + tile_rows);
  // d^2 = 2 - 2 s of unit rows.
  auto terms = at::mm(rows, columns.t()).sub_(1).mul_(4).exp_().to(at::kDouble);
  if (first == other) terms = terms.triu(1);
  return terms.sum().item<double>();
}

}  // namespace

double alignment(const at::Tensor& a, const at::Tensor& b) {
  SYNCDR_ASSERT(a.dim() == 2 && a.sizes() == b.sizes(), "pairs need two rows each");
  if (a.size(0) == 0) return std::numeric_limits<double>::quiet_NaN();
  return (a - b).to(at::kDouble).square_().sum(1).mean().item<double>();
}

double uniformity(const at::Tensor& features) {
  const int64_t rows = features.size(0), tiles = (rows + tile_rows - 1) / tile_rows;
  if (rows < 2) return 0;
  std::vector<double> sums(static_cast<size_t>(tiles));
  const auto work = [&](int64_t tile) {
    for (int64_t other = tile; other < tiles; ++other) sums[static_cast<size_t>(tile)] += sum_of_tile(features, tile * tile_rows, other * tile_rows);
  };
  if (features.is_cpu()) {
    nn::each_in_one_thread(tiles, work);
  } else {
    for (int64_t tile = 0; tile < tiles; ++tile) work(tile);
  }
  double sum = 0;
  for (const double part : sums) sum += part;
  return std::log(sum / (0.5 * static_cast<double>(rows) * static_cast<double>(rows - 1)));
}

double mutual_share(const Neighbours& a_to_b, const Neighbours& b_to_a) {
  const auto from_a = a_to_b.indices.to(at::kCPU), from_b = b_to_a.indices.to(at::kCPU);
  const int64_t queries = from_a.size(0) + from_b.size(0);
  if (from_a.size(0) == 0 || from_b.size(0) == 0) return 0;
  const auto nearest_of_a = from_a.accessor<int64_t, 2>(), nearest_of_b = from_b.accessor<int64_t, 2>();
  int64_t couples = 0;
  for (int64_t a = 0; a < nearest_of_a.size(0); ++a) couples += nearest_of_b[nearest_of_a[a][0]][0] == a;
  return 2.0 * static_cast<double>(couples) / static_cast<double>(queries);
}

}  // namespace syncdr::evaluation
