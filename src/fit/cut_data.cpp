#include "cut_data.h"

#include <numeric>

namespace syncdr::fit {

namespace {

data::BatchOrder order_of(int64_t images, int64_t batch, uint64_t seed, uint64_t stream, const std::string& domain) {
  if (images < batch) throw core::UsageError("domain {} has {} training images, fewer than a batch of {}: lower fit.cut.batch", domain, images, batch);
  return {images, batch, seed, stream};
}

}  // namespace

CutBatches::Side::Side(const data::Dataset& dataset, const std::string& domain, const std::string& other, int64_t batch, uint64_t seed, uint64_t stream)
    : set(dataset, domain, other, ""), order(order_of(set.size(), batch, seed, stream, domain)) {}

at::Tensor CutBatches::Side::load(int64_t step, training::Part part, const data::AugmentConfig& config, uint64_t seed) const {
  const int64_t epoch = step / order.batches_per_epoch(), index = step % order.batches_per_epoch();
  return data::load_pairs(set, order.entries(epoch, index, part.first, part.last), config, seed, epoch).images;
}

CutBatches::CutBatches(const data::Dataset& dataset, const std::string& source, const std::string& target, const CutConfig& config, uint64_t seed,
                       training::Part part)
    : source_(dataset, source, target, config.batch, seed, 1),
      target_(dataset, target, source, config.batch, seed, 2),
      augment_(config.augment),
      seed_(seed),
      part_(part) {}

CutBatch CutBatches::load(int64_t step) const { return {source_.load(step, part_, augment_, seed_), target_.load(step, part_, augment_, seed_)}; }

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
