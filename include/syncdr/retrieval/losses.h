#pragma once
#include <ATen/core/Tensor.h>

/// Losses that couple all samples of a global batch, and the memory banks that they compare with (SynCDR, arXiv 2401.00420; CDS, Kim et al., ICCV 2021).
/// features [B, D] float, unit rows, differentiable; bank [N, D] float, unit rows, constant; temperature > 0.
namespace syncdr::retrieval {

/// Instance discrimination: cross entropy of each feature against every row of its own domain's memory bank.
/// rows [B] int64: each feature's own row of the bank. Returns the mean over B. Throws UsageError if a row lies outside the bank.
at::Tensor instance_discrimination(const at::Tensor& features, const at::Tensor& bank, const at::Tensor& rows, double temperature);

/// Cross-domain matching: mean entropy of the softmax over the `top` most similar rows of the *other* domain's bank (all, if it has fewer);
/// log(p + 1e-5).
at::Tensor cross_domain_matching(const at::Tensor& features, const at::Tensor& other_bank, double temperature, int64_t top);

/// Pseudo-positive pairs: cross entropy of counterpart i against all features of the batch, its own the positive: CE(f' f^T / T, diagonal).
/// counterparts [B, D]: row i belongs to feature i. Without any pair: 0.
at::Tensor pseudo_positive_pairs(const at::Tensor& counterparts, const at::Tensor& features, double temperature);

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
