#pragma once
#include <ATen/core/Tensor.h>

namespace syncdr::comm {
class World;
}

/// Passes over the rows of a memory bank that lie here, in tiles. queries [B, D] float or double; rows [N, D] float, double or bfloat16.
namespace syncdr::retrieval {

/// sum_j exp(x_j - largest) and the same sum with rows as weights' values, x = queries rows^T / temperature.
struct SoftSum {
  at::Tensor largest, sum;  ///< [B]
  at::Tensor weighted;      ///< [B, D]: sum_j exp(x_j - largest) row_j
};
SoftSum soft_sum(const at::Tensor& queries, const at::Tensor& rows, double temperature);

/// The k best rows by inner product, 0 < k <= N: falling scores, of equal ones the smaller row first.
struct Nearest {
  at::Tensor scores;  ///< [B, k]
  at::Tensor rows;    ///< [B, k] int64
};
Nearest nearest(const at::Tensor& queries, const at::Tensor& rows, int64_t k);

/// Each rank has scores [B, k_r], falling, of its own rows, of which rank 0's are the smallest. How many of each line belong to the `top` best of all
/// ranks' [B] int64. Only counts travel. A collective.
at::Tensor chosen_of_all(comm::World& world, const at::Tensor& scores, int64_t top);

/// sum_j weights[:, j] * rows[index[:, j]]: [B, k], [B, k], [N, D] -> [B, D].
at::Tensor weighted_rows(const at::Tensor& weights, const at::Tensor& index, const at::Tensor& rows);

}  // namespace syncdr::retrieval
