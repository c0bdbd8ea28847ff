#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

/// Inner products of all rows of one matrix with all rows of another, and the best of each row without keeping the others. Float32 on the CPU.
///
/// Why not LibTorch's product: its sums are cut by the shape of the matrices and the number of threads, so that equal rows need not score alike, and all
/// scores would be written and read again. Here a score is one chain of fused multiply-adds over the depth: its bits depend on the two rows alone.
namespace syncdr::kernels {

/// Whether this processor has it.
bool search_takes();

/// rows [R, D] -> [R / 32, D, 32], rounded up, with zeros for the rows that the last panel lacks: the order in which products read it.
at::Tensor packed_rows(const at::Tensor& rows);

/// Writes scores [R, n], of any stride between rows: of R packed rows with others [n, D].
void scores_into(const at::Tensor& scores, const at::Tensor& packed, const at::Tensor& others);

/// The k best of each row among others that come in pieces, in a total order: the larger score, of equal ones the smaller column. Nearly every score is turned
/// away in its register, by one comparison with the k-th best so far.
class BestColumns {
 public:
  BestColumns(int64_t rows, int64_t k);
  /// One for larger columns of the same rows, which turns away what cannot be among the k best for what this one has found.
  BestColumns next() const;

  /// Offers columns first ... first + n - 1, below 2^32: packed rows with others [n, D]. Pieces come in ascending order. In the thread that calls it.
  void offer(const at::Tensor& packed, const at::Tensor& others, int64_t first);
  /// Takes what another has found among other columns.
  void merge(BestColumns& other);
  /// Whether all scores were finite. If not, what is found means nothing.
  bool finite() const { return finite_; }

  /// Writes scores [R, k], falling, and columns [R, k] int64. Each row was offered k columns or more.
  void in_order(const at::Tensor& scores, const at::Tensor& columns);

 private:
  friend struct BestCall;
  void take(int64_t row, float score, int64_t column);
  void cut(int64_t row);

  int64_t k_, capacity_;
  std::vector<uint64_t> keys_;  // [rows, capacity]: score above, column below, so that keys are all different and sort as candidates do
  std::vector<int64_t> counts_;
  std::vector<float> worst_;    // [rows, rounded up to panels]: what a score must exceed; nothing exceeds what rows that are not there have
  std::vector<float> highest_;  // [panels, k, panel]: the k highest scores of each row that it was offered, falling; empty if k is large
  bool finite_ = true;
};

}  // namespace syncdr::kernels
