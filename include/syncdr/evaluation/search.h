#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace syncdr::evaluation {

struct Neighbours {
  at::Tensor scores;   ///< [Q, k] float, descending
  at::Tensor indices;  ///< [Q, k] int64, rows of the gallery; equal scores: the smaller row first
};

/// Exact top-k by inner product: a running selection, never the whole similarity matrix, never a full sort.
/// queries [Q, D], gallery [N, D] float on one device; k is cut to N. Results are on that device.
/// The order is total (score, then row). On a CPU with AVX2 a score's bits depend on the two features alone (kernels/search.h); elsewhere every tile has the
/// same shape and, on a CPU, one thread. So equal features score alike wherever they stand, and the number of threads changes nothing.
/// Throws UsageError if k is below 1, DataError if a feature is not finite or similarities overflow.
Neighbours top_k(const at::Tensor& queries, const at::Tensor& gallery, int64_t k);

/// A gallery that need not fit into memory: it is read once, from the first row to the last, while what was read before is searched.
struct GallerySource {
  int64_t rows = 0;
  /// Rows [first, last), [last - first, D] float on the queries' device. Called in a thread of its own, one call at a time; what it throws, top_k() throws.
  std::function<at::Tensor(int64_t first, int64_t last)> read;
  int64_t chunk = 16384;  ///< rows of a read, at least 1; up to three chunks are in memory
};
/// The same of such a gallery.
Neighbours top_k(const at::Tensor& queries, const GallerySource& gallery, int64_t k);

/// Where each query's own row of the gallery stands in the order of top_k(), from 1: [Q] int64 on the CPU. own [Q] int64: rows of the gallery. The same
/// scores, twice (for the own row's, and to count what comes before it). Throws as top_k.
at::Tensor rank_of(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& own);

}  // namespace syncdr::evaluation
