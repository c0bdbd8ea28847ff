#pragma once
#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

namespace syncdr::diffusion {

/// One cross-attention's keys and values of a text, [B, heads, L, D / heads] each.
struct KeyValue {
  at::Tensor key, value;
};

/// One cross-attention's projections of a text, weights without bias [C, D] each.
struct TextProjection {
  at::Tensor key, value;
};

/// The text that a call is conditioned on. Made from a tensor, each call projects it anew; made by UNet's prepare(), keys and values are
/// there already.
struct TextContext {
  /// [B, L, D]; B = 1: the same text for all samples.
  TextContext(at::Tensor hidden) : text(std::move(hidden)) {}  // NOLINT: a text is a context
  at::Tensor text;
  std::vector<KeyValue> prepared;  ///< of each attention that reads text, in the order of calls; empty: not prepared
};

}  // namespace syncdr::diffusion
