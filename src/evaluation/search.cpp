#include "syncdr/evaluation/search.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <cmath>
#include <limits>

#include "syncdr/core/error.h"
#include "syncdr/nn/one_thread.h"
#include "syncdr/retrieval/running_best.h"

namespace syncdr::evaluation {
namespace {

// Rows of a tile of scores. On a CPU each thread has one: 4 MiB at 8192 columns, which stay in its cache between the product and the search.
int64_t rows_of_tile(c10::Device device) { return device.is_cpu() ? 128 : 512; }

// The shortest length of which no more pieces are needed than of `longest`.
int64_t even_length(int64_t count, int64_t longest) {
  const int64_t pieces = (count + longest - 1) / longest;
  return (count + pieces - 1) / pieces;
}

// Exact search in tiles that all have one shape: kernels for few rows or columns round otherwise, and equal features would not score alike. So the
// last tile of a side reaches back over what the one before it has offered.
struct Tiles {
  const at::Tensor &queries, &gallery;
  int64_t k, rows, columns;

  int64_t count() const { return (queries.size(0) + rows - 1) / rows; }

  // The nearest of the queries that are tile number `index`'s own. room [rows, columns]: used again and again, fresh pages cost more than the search.
  std::tuple<at::Tensor, at::Tensor> search(int64_t index, const at::Tensor& room) const {
    const int64_t row = std::min(index * rows, queries.size(0) - rows), seen_rows = index * rows - row;
    retrieval::RunningBest best(rows - seen_rows, k, queries.options());
    for (int64_t first = 0; first < gallery.size(0); first += columns) {
      const int64_t column = std::min(first, gallery.size(0) - columns), seen = first - column;
      auto scores = room;
      at::mm_out(scores, queries.narrow(0, row, rows), gallery.narrow(0, column, columns).t());
      best.offer(room.narrow(0, seen_rows, rows - seen_rows).narrow(1, seen, columns - seen), first);
    }
    const auto [found, rows_of_gallery] = best.in_order();
    return {found, rows_of_gallery};
  }
};

// The largest magnitude of a feature. aminmax passes NaN on and needs no memory, unlike isfinite and abs.
double largest(const at::Tensor& features, const char* what) {
  SYNCDR_ASSERT(features.dim() == 2 && features.scalar_type() == at::kFloat, "{} must be [rows, D] float", what);
  if (features.numel() == 0) return 0;
  const auto [low, high] = at::aminmax(features);
  const double magnitude = std::max(std::abs(low.item<double>()), std::abs(high.item<double>()));
  if (!std::isfinite(magnitude) || std::isnan(low.item<double>()))
    throw core::DataError("search: the {} features hold NaN or infinity. The encoder's training has diverged, or its weights are damaged.", what);
  return magnitude;
}

// No sum of D products may overflow, so that every score is finite and has its place in the order.
void check_features(const at::Tensor& queries, const at::Tensor& gallery) {
  const double bound = largest(queries, "query") * largest(gallery, "gallery") * static_cast<double>(queries.size(1));
  SYNCDR_ASSERT(queries.size(1) == gallery.size(1), "queries have {} features, the gallery {}", queries.size(1), gallery.size(1));
  if (bound > std::numeric_limits<float>::max()) throw core::DataError("search: similarities may reach {:.3g}. Scale the features to unit length.", bound);
}

}  // namespace

Neighbours top_k(const at::Tensor& queries, const at::Tensor& gallery, int64_t k, int64_t tile) {
  if (k < 1 || tile < 1) throw core::UsageError("search: k = {} and tile = {} must be at least 1.", k, tile);
  check_features(queries, gallery);
  const at::NoGradGuard no_grad;
  k = std::min(k, gallery.size(0));
  if (queries.size(0) == 0 || k == 0) return {queries.new_empty({queries.size(0), k}), at::empty({queries.size(0), k}, queries.options().dtype(at::kLong))};
  const Tiles tiles{queries, gallery, k, even_length(queries.size(0), rows_of_tile(queries.device())), even_length(gallery.size(0), tile)};
  std::vector<at::Tensor> scores(static_cast<size_t>(tiles.count())), indices(scores.size());
  const int64_t workers = queries.is_cpu() ? std::min<int64_t>(at::get_num_threads(), tiles.count()) : 1;
  const auto work = [&](int64_t worker) {
    const auto room = at::empty({tiles.rows, tiles.columns}, queries.options());
    for (auto index = static_cast<size_t>(worker); index < scores.size(); index += static_cast<size_t>(workers)) {
      std::tie(scores[index], indices[index]) = tiles.search(static_cast<int64_t>(index), room);
    }
  };
  // In one thread each: with more, long products are cut into sums by the number of threads.
  if (queries.is_cpu()) {
    nn::each_in_one_thread(workers, work);
  } else {
    work(0);
  }
  return {at::cat(scores), at::cat(indices)};
}

}  // namespace syncdr::evaluation
