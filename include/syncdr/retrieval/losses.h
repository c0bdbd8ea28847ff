#pragma once
#include <ATen/core/Tensor.h>

/// Losses that couple all samples of a global batch (SynCDR, arXiv 2401.00420; CDS, Kim et al., ICCV 2021).
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

}  // namespace syncdr::retrieval
