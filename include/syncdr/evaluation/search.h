#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace syncdr::evaluation {

struct Neighbours {
  at::Tensor scores;   ///< [Q, k] float, descending
  at::Tensor indices;  ///< [Q, k] int64, rows of the gallery; equal scores: the smaller row first
};

/// Exact top-k by inner product: tiles of the similarity matrix with a running top-k, never the whole matrix, never a full sort.
/// queries [Q, D], gallery [N, D] float on one device; k is cut to N. tile: columns of the gallery at a time.
/// The order is total (score, then row), and every tile has the same shape and, on a CPU, one thread: equal features score alike wherever they
/// stand, and the number of threads changes nothing. Throws UsageError if k or tile is below 1, DataError if a feature is not finite or so large that
/// similarities might overflow.
Neighbours top_k(const at::Tensor& queries, const at::Tensor& gallery, int64_t k, int64_t tile = 8192);

/// Where each query's own row of the gallery stands in the order of top_k(), from 1: [Q] int64 on the CPU. own [Q] int64: rows of the gallery. The same
/// tiles, twice (for the own row's score, and to count what comes before it). Throws as top_k.
at::Tensor rank_of(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& own, int64_t tile = 8192);

/// Rows of the gallery that score exactly this against a query: how many, and how many of them have the query's label. [Q, C] int64 each, on the CPU.
struct EqualScores {
  at::Tensor all, labelled;
};
/// scores [Q, C] float, as top_k() gave them: the same tiles, so the same bits. Labels [Q], [N] int64. Throws as top_k.
EqualScores count_equal(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& scores, const at::Tensor& query_labels,
                        const at::Tensor& gallery_labels, int64_t tile = 8192);

}  // namespace syncdr::evaluation
