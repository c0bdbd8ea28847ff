#pragma once
#include <ATen/core/Tensor.h>

namespace syncdr::retrieval {

/// One unit row for each entry of a domain's training set. Every rank holds the whole bank and applies the same updates.
class MemoryBank {
 public:
  /// rows [N, D] float, unit rows; taken over, not copied.
  explicit MemoryBank(at::Tensor rows, double momentum = 0.5);
  const at::Tensor& rows() const { return rows_; }
  /// m[id] <- normalise(momentum m[id] + (1 - momentum) f). ids [B] int64; features [B, D]. Throws UsageError if an id lies
  /// outside the bank or occurs twice.
  void update(const at::Tensor& ids, const at::Tensor& features);

 private:
  at::Tensor rows_;
  double momentum_;
};

}  // namespace syncdr::retrieval
