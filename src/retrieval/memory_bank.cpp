#include "syncdr/retrieval/memory_bank.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_unique.h>

#include "rows.h"
#include "syncdr/nn/unit_rows.h"

namespace syncdr::retrieval {

MemoryBank::MemoryBank(at::Tensor rows, double momentum) : rows_(std::move(rows)), momentum_(momentum) {
  SYNCDR_ASSERT(rows_.dim() == 2 && !rows_.requires_grad(), "a memory bank needs constant rows [N, D]");
}

void MemoryBank::update(const at::Tensor& ids, const at::Tensor& features) {
  check_rows(ids, features, rows_);
  if (std::get<0>(at::_unique(ids)).size(0) != ids.size(0))
    throw core::UsageError("an entry occurs twice in one update of the memory bank");
  const at::NoGradGuard no_gradient;
  const at::Tensor at_device = ids.to(rows_.device());
  const at::Tensor mixed = momentum_ * rows_.index_select(0, at_device) + (1 - momentum_) * features.detach().to(rows_.options());
  rows_.index_copy_(0, at_device, nn::unit_rows(mixed));
}

}  // namespace syncdr::retrieval
