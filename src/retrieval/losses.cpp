#include "syncdr/retrieval/losses.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/matmul.h>

#include "rows.h"

namespace syncdr::retrieval {
namespace {

/// Cosine similarities over the temperature: [B, D], [N, D] -> [B, N].
at::Tensor logits_of(const at::Tensor& features, const at::Tensor& others, double temperature) {
  return at::matmul(features, others.t()).div_(temperature);
}

}  // namespace

at::Tensor instance_discrimination(const at::Tensor& features, const at::Tensor& bank, const at::Tensor& rows, double temperature) {
  check_rows(rows, features, bank);
  return at::cross_entropy_loss(logits_of(features, bank, temperature), rows.to(features.device()));
}

at::Tensor cross_domain_matching(const at::Tensor& features, const at::Tensor& other_bank, double temperature, int64_t top) {
  const at::Tensor logits = logits_of(features, other_bank, temperature);
  const int64_t count = std::min(top, logits.size(1));
  // The order among the nearest does not matter to the entropy, so they need not be sorted.
  const at::Tensor nearest = std::get<0>(logits.topk(count, /*dim=*/1, /*largest=*/true, /*sorted=*/false));
  const at::Tensor probabilities = nearest.softmax(1);
  return -(probabilities * (probabilities + 1e-5).log()).sum(1).mean();
}

at::Tensor pseudo_positive_pairs(const at::Tensor& counterparts, const at::Tensor& features, double temperature) {
  SYNCDR_ASSERT(counterparts.sizes() == features.sizes(), "{} counterparts of {} features", counterparts.size(0), features.size(0));
  // The mean over no pair would be NaN. A zero that still hangs on the features keeps every parameter in the backward pass.
  if (features.size(0) == 0) return counterparts.sum() + features.sum();
  return at::cross_entropy_loss(logits_of(counterparts, features, temperature),
                                at::arange(features.size(0), features.options().dtype(at::kLong)));
}

}  // namespace syncdr::retrieval
