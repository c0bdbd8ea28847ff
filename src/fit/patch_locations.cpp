#include "patch_locations.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>

#include "syncdr/core/philox.h"

namespace syncdr::fit {

std::vector<at::Tensor> patch_locations(const std::vector<at::Tensor>& features, int64_t patches, uint64_t seed, int64_t step) {
  std::vector<at::Tensor> locations;
  for (size_t layer = 0; layer < features.size(); ++layer) {
    const int64_t places = features[layer].size(2) * features[layer].size(3);
    std::vector<int64_t> order(static_cast<size_t>(places));
    std::iota(order.begin(), order.end(), 0);
    const auto count = static_cast<size_t>(std::min(patches, places));
    core::Random random(seed, core::Purpose::patches, layer, 0, static_cast<uint32_t>(step));
    for (size_t i = 0; i < count; ++i) std::swap(order[i], order[i + random.below(order.size() - i)]);  // the start of a Fisher-Yates shuffle
    order.resize(count);
    locations.push_back(at::tensor(order, at::kLong).to(features[layer].device()));
  }
  return locations;
}

}  // namespace syncdr::fit
