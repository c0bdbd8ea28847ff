#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

namespace syncdr::nn {

/// Sums a tensor in place over the ranks of a job; empty: there is one rank. Keeps this room free of communication.
using SumOverRanks = std::function<void(at::Tensor&)>;

}  // namespace syncdr::nn
