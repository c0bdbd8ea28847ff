#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "syncdr/evaluation/search.h"

/// The k best of a row of scores that arrives in pieces, in two ways with the same result: on a CPU a heap a row (nearly every score is
/// turned away by one comparison), elsewhere at::topk, which GPUs have a kernel for.
///
/// A candidate is one int64 "key", score in the upper and gallery row in the lower 32 bits, that sorts as (score, then the smaller row).
/// All keys differ, so no order is left to chance where scores are equal.
namespace syncdr::evaluation {

/// The largest gallery: rows have 32 bits in a key.
inline constexpr int64_t max_gallery_rows = 0xFFFFFFFF;

/// [q, k] int64 keys, worse than all others. Every row must be offered at least k scores before it is read.
at::Tensor no_candidates(int64_t rows, int64_t k, c10::Device device);

/// Keeps in best [q, k] the k best of itself and scores [q, n] float, which belong to gallery rows first_row ... first_row + n - 1.
/// Scores are finite and pieces come in ascending order of their rows.
void offer_by_heap(at::Tensor& best, const at::Tensor& scores, int64_t first_row);  ///< CPU
void offer_by_topk(at::Tensor& best, const at::Tensor& scores, int64_t first_row);  ///< any device

/// Candidates in descending order, taken apart again.
Neighbours in_order(const at::Tensor& best);

}  // namespace syncdr::evaluation
