#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace syncdr::retrieval {

/// The k best of each row of scores that arrive in pieces, in a total order: the larger score, of equal ones the smaller column.
///
/// On a CPU each row has a buffer: nearly every score is turned away by one comparison, and a full buffer is cut to its k best, which costs a
/// candidate less than a heap does. Elsewhere candidates are one int64 "key" each, score in the upper and column in the lower 32 bits, all different, so that
/// at::topk, which GPUs have a kernel for, leaves no order to chance.
class RunningBest {
 public:
  /// scores: their type, float or double, and device. by_keys: float alone, on any device.
  RunningBest(int64_t rows, int64_t k, const at::TensorOptions& scores);
  RunningBest(int64_t rows, int64_t k, const at::TensorOptions& scores, bool by_keys);

  /// scores [rows, n] of columns first ... first + n - 1. Pieces come in ascending order of their columns, below 2^32. NaN is passed over.
  void offer(const at::Tensor& scores, int64_t first);

  struct Result {
    at::Tensor scores;   ///< [rows, k], falling; minus infinity, column 0, where fewer than k were offered
    at::Tensor columns;  ///< [rows, k] int64
  };
  Result in_order();

 private:
  struct Candidate {
    double score;  // holds every float exactly
    int64_t column;
  };
  struct IsBetter {  // a type, not a function, so that sorting inlines it
    bool operator()(const Candidate& a, const Candidate& b) const { return a.score > b.score || (a.score == b.score && a.column < b.column); }
  };
  struct Row {
    std::vector<Candidate> found;
    double worst;  // what a later column must exceed
  };
  void cut(Row& row) const;
  template <class T> void offer_to(Row& row, const T* scores, int64_t count, int64_t first) const;
  template <class T> void offer_rows(const at::Tensor& scores, int64_t first);
  void offer_keys(const at::Tensor& scores, int64_t first);

  int64_t k_;
  at::TensorOptions options_;
  bool by_keys_;
  std::vector<Row> rows_;
  at::Tensor keys_;  // [rows, k]
};

}  // namespace syncdr::retrieval
