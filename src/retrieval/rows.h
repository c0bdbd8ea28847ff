#pragma once
#include <ATen/core/Tensor.h>

#include "syncdr/core/error.h"

namespace syncdr::retrieval {

/// Throws UsageError unless rows [B] names one row of bank [N, D] for each of features [B, D]. Rows on the CPU are checked without waiting
/// for a GPU.
inline void check_rows(const at::Tensor& rows, const at::Tensor& features, const at::Tensor& bank) {
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

}  // namespace syncdr::retrieval
