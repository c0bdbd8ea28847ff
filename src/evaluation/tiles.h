#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "syncdr/evaluation/search.h"
#include "syncdr/kernels/search.h"
#include "syncdr/nn/one_thread.h"

/// All scores of queries with a gallery, without ever holding them all.
namespace syncdr::evaluation {

/// Whether the kernel computes the scores of these features; LibTorch does elsewhere.
inline bool kernel_takes(const at::Tensor& features) { return features.is_cpu() && kernels::search_takes(); }

/// Queries are cut into tiles, each worked through by one thread, piece by piece of the gallery.
///
/// LibTorch's product rounds otherwise for few rows or columns, and equal features would not score alike: there all tiles have one shape, and the last one
/// of a side reaches back over what the one before it has offered.
class Tiles {
 public:
  /// by_kernel: for tests. columns: of a piece; 0: what suits.
  Tiles(const at::Tensor& queries, const at::Tensor& gallery, std::optional<bool> by_kernel = {}, int64_t columns = 0)
      : queries_(queries.contiguous()), gallery_(gallery.contiguous()), by_kernel_(by_kernel.value_or(kernel_takes(queries))) {
    rows_ = even_length(queries.size(0), queries.is_cpu() ? 128 : 512);
    columns_ = even_length(gallery.size(0), columns > 0 ? columns : by_kernel_ ? 2048 : 8192);
  }

  int64_t count() const { return rows_ == 0 ? 0 : (queries_.size(0) + rows_ - 1) / rows_; }
  /// A tile's own queries: from first_row(index) on, as many as own_rows(index).
  int64_t first_row(int64_t index) const { return index * rows_; }
  int64_t own_rows(int64_t index) const { return std::min(rows_, queries_.size(0) - index * rows_); }

  /// work(index, room) of each tile. room: for each_piece; it is used again and again, fresh pages cost more than the search.
  void each(const auto& work) const {
    const int64_t workers = queries_.is_cpu() ? std::min<int64_t>(at::get_num_threads(), count()) : std::min<int64_t>(1, count());
    const auto in_turn = [&](int64_t worker) {
      // Rows a power of two apart would fall into the same places of the cache.
      const auto room = at::empty({rows_, columns_ + (by_kernel_ ? 16 : 0)}, queries_.options());
      for (int64_t index = worker; index < count(); index += workers) work(index, room);
    };
    // In one thread each: with more, long products are cut into sums by the number of threads.
    if (queries_.is_cpu()) nn::each_in_one_thread(workers, in_turn);
    else if (workers > 0) in_turn(0);
  }

  /// take(scores [own_rows, n], first column) for the gallery from row `from` on, in the order of its rows.
  void each_piece(int64_t index, const at::Tensor& room, const auto& take, int64_t from = 0) const {
    const int64_t own = own_rows(index), all = gallery_.size(0);
    if (by_kernel_) {
      const auto packed = kernels::packed_rows(queries_.narrow(0, first_row(index), own));
      for (int64_t first = from; first < all; first += columns_) {
        const int64_t here = std::min(columns_, all - first);
        const auto scores = room.narrow(0, 0, own).narrow(1, 0, here);
        kernels::scores_into(scores, packed, gallery_.narrow(0, first, here));
        take(scores, first);
      }
      return;
    }
    const int64_t row = std::min(first_row(index), queries_.size(0) - rows_);
    for (int64_t first = from; first < all; first += columns_) {
      const int64_t column = std::min(first, all - columns_), seen = first - column;
      auto scores = room;
      at::mm_out(scores, queries_.narrow(0, row, rows_), gallery_.narrow(0, column, columns_).t());
      take(room.narrow(0, rows_ - own, own).narrow(1, seen, columns_ - seen), first);
    }
  }

  const at::Tensor& queries() const { return queries_; }

 private:
  // The shortest length of which no more pieces are needed than of `longest`.
  static int64_t even_length(int64_t count, int64_t longest) {
    const int64_t pieces = (count + longest - 1) / longest;
    return pieces == 0 ? 0 : (count + pieces - 1) / pieces;
  }

  at::Tensor queries_, gallery_;
  bool by_kernel_;
  int64_t rows_ = 0, columns_ = 0;
};

/// top_k() of the gallery's rows from `from` on, by Tiles.
Neighbours top_k_in_tiles(const Tiles& tiles, int64_t k, int64_t from = 0);

/// top_k() of a gallery that is read, by the kernel or by Tiles.
Neighbours top_k_of(const at::Tensor& queries, const GallerySource& gallery, int64_t k, bool by_kernel);

/// rank_of() by Tiles.
at::Tensor rank_in_tiles(const Tiles& tiles, const at::Tensor& own);

/// Throws DataError if a feature is not finite, or so large that similarities might overflow.
void check_features(const at::Tensor& queries, const at::Tensor& gallery);

}  // namespace syncdr::evaluation
