#include "syncdr/evaluation/search.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
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
  int64_t rows, columns;

  Tiles(const at::Tensor& queries_, const at::Tensor& gallery_, int64_t tile)
      : queries(queries_), gallery(gallery_), rows(even_length(queries.size(0), rows_of_tile(queries.device()))), columns(even_length(gallery.size(0), tile)) {}

  int64_t count() const { return (queries.size(0) + rows - 1) / rows; }
  // How many queries are tile number `index`'s own; the first of them is query index * rows.
  int64_t own_rows(int64_t index) const { return std::min(rows, queries.size(0) - index * rows); }

  // Calls take(scores [own_rows, n], first column) for the whole gallery, piece by piece. room [rows, columns]: used again and again, fresh pages cost
  // more than the search.
  void each_piece(int64_t index, const at::Tensor& room, const auto& take) const {
    const int64_t row = std::min(index * rows, queries.size(0) - rows), seen_rows = index * rows - row;
    for (int64_t first = 0; first < gallery.size(0); first += columns) {
      const int64_t column = std::min(first, gallery.size(0) - columns), seen = first - column;
      auto scores = room;
      at::mm_out(scores, queries.narrow(0, row, rows), gallery.narrow(0, column, columns).t());
      take(room.narrow(0, seen_rows, rows - seen_rows).narrow(1, seen, columns - seen), first);
    }
  }

  // work(index, room) of each tile of queries, in their order.
  auto each(const auto& work) const {
    std::vector<decltype(work(int64_t{}, at::Tensor()))> parts(static_cast<size_t>(count()));
    const int64_t workers = queries.is_cpu() ? std::min<int64_t>(at::get_num_threads(), count()) : 1;
    const auto in_turn = [&](int64_t worker) {
      const auto room = at::empty({rows, columns}, queries.options());
      for (int64_t index = worker; index < count(); index += workers) parts[static_cast<size_t>(index)] = work(index, room);
    };
    // In one thread each: with more, long products are cut into sums by the number of threads.
    if (queries.is_cpu()) {
      nn::each_in_one_thread(workers, in_turn);
    } else {
      in_turn(0);
    }
    return parts;
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
  const Tiles tiles(queries, gallery, tile);
  const auto parts = tiles.each([&](int64_t index, const at::Tensor& room) {
    retrieval::RunningBest best(tiles.own_rows(index), k, queries.options());
    tiles.each_piece(index, room, [&](const at::Tensor& scores, int64_t first) { best.offer(scores, first); });
    return best.in_order();
  });
  std::vector<at::Tensor> scores, indices;
  for (const auto& part : parts) {
    scores.push_back(part.scores);
    indices.push_back(part.columns);
  }
  return {at::cat(scores), at::cat(indices)};
}

at::Tensor rank_of(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& own, int64_t tile) {
  check_features(queries, gallery);
  SYNCDR_ASSERT(own.dim() == 1 && own.size(0) == queries.size(0) && own.scalar_type() == at::kLong, "each of {} queries has one row", queries.size(0));
  if (own.numel() == 0) return own.to(at::kCPU);
  const auto [low, high] = own.aminmax();
  SYNCDR_ASSERT(low.item<int64_t>() >= 0 && high.item<int64_t>() < gallery.size(0), "a gallery of {} rows has no row {}", gallery.size(0),
                high.item<int64_t>());
  const at::NoGradGuard no_grad;
  const Tiles tiles(queries, gallery, tile);
  const auto wanted = own.to(queries.device());
  return at::cat(tiles.each([&](int64_t index, const at::Tensor& room) {
           const auto rows = wanted.narrow(0, index * tiles.rows, tiles.own_rows(index)).unsqueeze(1);
           auto score = at::empty({rows.size(0), 1}, queries.options());
           tiles.each_piece(index, room, [&](const at::Tensor& scores, int64_t first) {
             const auto here = rows.ge(first).logical_and_(rows.lt(first + scores.size(1)));
             score = at::where(here, scores.gather(1, (rows - first).clamp_(0, scores.size(1) - 1)), score);
           });
           auto before = at::zeros_like(rows);
           tiles.each_piece(index, room, [&](const at::Tensor& scores, int64_t first) {
             const auto earlier = at::arange(first, first + scores.size(1), rows.options()).lt(rows);
             before += scores.gt(score).logical_or_(scores.eq(score).logical_and_(earlier)).sum(1, /*keepdim=*/true);
           });
           return at::Tensor(before.squeeze(1) + 1);
         }))
      .to(at::kCPU);
}

EqualScores count_equal(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& scores, const at::Tensor& query_labels,
                        const at::Tensor& gallery_labels, int64_t tile) {
  check_features(queries, gallery);
  SYNCDR_ASSERT(scores.dim() == 2 && scores.size(0) == queries.size(0), "each of {} queries has scores", queries.size(0));
  const at::NoGradGuard no_grad;
  const Tiles tiles(queries, gallery, tile);
  const auto device = queries.device();
  const auto wanted = scores.to(device), of_queries = query_labels.to(device), of_gallery = gallery_labels.to(device);
  const auto parts = tiles.each([&](int64_t index, const at::Tensor& room) {
    const int64_t first_row = index * tiles.rows, rows = tiles.own_rows(index);
    const auto own = wanted.narrow(0, first_row, rows), labels = of_queries.narrow(0, first_row, rows).unsqueeze(1);
    const auto all = at::zeros({rows, wanted.size(1)}, of_queries.options()), labelled = at::zeros_like(all);
    tiles.each_piece(index, room, [&](const at::Tensor& piece, int64_t first) {
      const auto same_label = labels.eq(of_gallery.narrow(0, first, piece.size(1)).unsqueeze(0));
      for (int64_t c = 0; c < own.size(1); ++c) {
        const auto equal = piece.eq(own.narrow(1, c, 1));
        all.select(1, c) += equal.sum(1);
        labelled.select(1, c) += equal.logical_and(same_label).sum(1);
      }
    });
    return std::pair{all, labelled};
  });
  std::vector<at::Tensor> all, labelled;
  for (const auto& part : parts) {
    all.push_back(part.first);
    labelled.push_back(part.second);
  }
  return {at::cat(all).to(at::kCPU), at::cat(labelled).to(at::kCPU)};
}

}  // namespace syncdr::evaluation
