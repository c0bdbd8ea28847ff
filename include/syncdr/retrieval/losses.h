#pragma once
#include "syncdr/retrieval/memory_bank.h"

/// Losses that couple all samples of a global batch, each with its gradient in closed form (SynCDR, arXiv 2401.00420; CDS, Kim et al., ICCV 2021).
/// Nothing here makes an autograd graph, and no B x N logits exist: banks are passed over in tiles.
/// features [B, D] float or double, unit rows; temperature > 0. With a sharded bank the first two are collectives, and all ranks give all features.
namespace syncdr::retrieval {

struct RowLosses {
  at::Tensor losses;    ///< [B]: the loss of each feature
  at::Tensor gradient;  ///< [B, D]: of each row's own loss
};

/// Instance discrimination: cross entropy of each feature against every row of its own domain's memory bank.
/// ids [B] int64: each feature's own row of the bank. Throws UsageError if one lies outside the bank.
RowLosses instance_discrimination(const at::Tensor& features, const MemoryBank& bank, const at::Tensor& ids, double temperature);

/// Cross-domain matching: entropy of the softmax over the `top` most similar rows of the *other* domain's bank (all, if it has fewer; of equally
/// similar ones the smaller row); log(p + 1e-5).
RowLosses cross_domain_matching(const at::Tensor& features, const MemoryBank& other_bank, double temperature, int64_t top);

struct PairLosses {
  at::Tensor losses;                             ///< [P]
  at::Tensor queries_gradient, others_gradient;  ///< [P, D]: of the sum of all losses
};

/// Pseudo-positive pairs: cross entropy of query i against all others, its own (row i) the positive: CE(queries others^T / T, diagonal), times weights[i]. As
/// published queries are counterparts, others the features that they belong to, and all weights 1. [P, D] each, weights [P]; P may be 0.
PairLosses pseudo_positive_pairs(const at::Tensor& queries, const at::Tensor& others, const at::Tensor& weights, double temperature);

}  // namespace syncdr::retrieval
