#include "syncdr/retrieval/losses.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_unique.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/matmul.h>

#include "syncdr/core/error.h"
#include "syncdr/nn/unit_rows.h"

namespace syncdr::retrieval {
namespace {

/// Cosine similarities over the temperature: [B, D], [N, D] -> [B, N].
at::Tensor logits_of(const at::Tensor& features, const at::Tensor& others, double temperature) { return at::matmul(features, others.t()).div_(temperature); }

/// Throws UsageError unless rows [B] names one row of bank [N, D] for each of features [B, D]. Rows on the CPU are checked without waiting
/// for a GPU.
void check_rows(const at::Tensor& rows, const at::Tensor& features, const at::Tensor& bank) {
  if (features.dim() != 2 || bank.dim() != 2 || features.size(1) != bank.size(1)) {
    throw core::UsageError("features {} do not fit the memory bank {}", fmt::join(features.sizes(), "x"), fmt::join(bank.sizes(), "x"));
  }
  if (rows.dim() != 1 || rows.size(0) != features.size(0)) {
    throw core::UsageError("{} features, but {} rows of the memory bank", features.size(0), rows.numel());
  }
  if (rows.numel() == 0) return;
  const auto [low, high] = rows.aminmax();
  if (low.item<int64_t>() < 0 || high.item<int64_t>() >= bank.size(0)) {
    throw core::UsageError("rows {} to {} of a memory bank that has {}", low.item<int64_t>(), high.item<int64_t>(), bank.size(0));
  }
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
  return at::cross_entropy_loss(logits_of(counterparts, features, temperature), at::arange(features.size(0), features.options().dtype(at::kLong)));
}

MemoryBank::MemoryBank(at::Tensor rows, double momentum) : rows_(std::move(rows)), momentum_(momentum) {
  SYNCDR_ASSERT(rows_.dim() == 2 && !rows_.requires_grad(), "a memory bank needs constant rows [N, D]");
}

void MemoryBank::update(const at::Tensor& ids, const at::Tensor& features) {
  check_rows(ids, features, rows_);
  if (std::get<0>(at::_unique(ids)).size(0) != ids.size(0)) throw core::UsageError("an entry occurs twice in one update of the memory bank");
  const at::NoGradGuard no_gradient;
  const at::Tensor at_device = ids.to(rows_.device());
  const at::Tensor mixed = momentum_ * rows_.index_select(0, at_device) + (1 - momentum_) * features.detach().to(rows_.options());
  rows_.index_copy_(0, at_device, nn::unit_rows(mixed));
}

}  // namespace syncdr::retrieval
