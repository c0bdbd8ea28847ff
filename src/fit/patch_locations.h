#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace syncdr::fit {

/// Where PatchNCE compares in one step: per layer of features [B, C, h, w] min(patches, h*w) different locations, the same for every image of the global
/// batch.
std::vector<at::Tensor> patch_locations(const std::vector<at::Tensor>& features, int64_t patches, uint64_t seed, int64_t step);

}  // namespace syncdr::fit
