#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/matmul.h>

#include <algorithm>

/// The losses as formulas over all logits, for autograd: what the closed forms are held against.
namespace syncdr::retrieval::plain {

inline at::Tensor logits(const at::Tensor& features, const at::Tensor& others, double temperature) {
  return at::matmul(features, others.t()).div_(temperature);
}

inline at::Tensor instance_discrimination(const at::Tensor& features, const at::Tensor& bank, const at::Tensor& ids, double temperature) {
  return at::cross_entropy_loss(logits(features, bank, temperature), ids);
}

inline at::Tensor cross_domain_matching(const at::Tensor& features, const at::Tensor& other_bank, double temperature, int64_t top) {
  const at::Tensor all = logits(features, other_bank, temperature);
  const at::Tensor p = std::get<0>(all.topk(std::min(top, all.size(1)), /*dim=*/1, /*largest=*/true, /*sorted=*/false)).softmax(1);
  return -(p * (p + 1e-5).log()).sum(1).mean();
}

/// weights [P]: of each pair; without them all count the same.
inline at::Tensor pseudo_positive_pairs(const at::Tensor& counterparts, const at::Tensor& features, double temperature, const at::Tensor& weights = {}) {
  const at::Tensor diagonal = at::arange(features.size(0), features.options().dtype(at::kLong));
  if (!weights.defined()) return at::cross_entropy_loss(logits(counterparts, features, temperature), diagonal);
  const at::Tensor losses = at::cross_entropy_loss(logits(counterparts, features, temperature), diagonal, {}, at::Reduction::None);
  return (losses * weights).sum() / weights.sum();
}

}  // namespace syncdr::retrieval::plain
