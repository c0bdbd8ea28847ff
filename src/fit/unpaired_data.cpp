#include "unpaired_data.h"

#include <ATen/ops/cat.h>

#include "syncdr/core/error.h"

namespace syncdr::fit {
namespace {

std::vector<data::PairSet> image_sets(const data::Dataset& dataset, const std::string& domain, const std::string& extra) {
  std::vector<data::PairSet> sets;
  sets.emplace_back(dataset, domain, "", "");
  if (!extra.empty() && dataset.has(domain, extra)) sets.emplace_back(dataset, domain, "", "", extra);
  return sets;
}

int64_t images_in(const std::vector<data::PairSet>& sets) {
  int64_t count = 0;
  for (const data::PairSet& set : sets) count += set.size();
  return count;
}

data::BatchOrder image_order(int64_t images, int64_t batch, uint64_t seed, uint64_t stream, const std::string& domain, const std::string& batch_setting) {
  if (images < batch) throw core::UsageError("domain {} has {} training images, fewer than a batch of {}: lower {}", domain, images, batch, batch_setting);
  return {images, batch, seed, stream};
}

UnpairedOptions checked(UnpairedOptions options, const data::Dataset& dataset, const std::string& source, const std::string& target) {
  if (!options.extra.empty() && !dataset.has(source, options.extra) && !dataset.has(target, options.extra))
    throw core::UsageError("{}: neither {} nor {} has a split \"{}\", which is to be trained on too", dataset.root().string(), source, target, options.extra);
  return options;
}

}  // namespace

ImageStream::ImageStream(const data::Dataset& dataset, const std::string& domain, const std::string& extra, int64_t batch, uint64_t seed, uint64_t stream,
                         const std::string& batch_setting)
    : sets_(image_sets(dataset, domain, extra)), seed_(seed), order_(image_order(images_in(sets_), batch, seed, stream, domain, batch_setting)) {}

at::Tensor ImageStream::load_one(int64_t entry, int64_t epoch, const data::AugmentConfig& config) const {
  size_t set = 0;
  while (entry >= sets_[set].size()) entry -= sets_[set++].size();
  return data::load_pairs(sets_[set], {entry}, config, seed_, epoch).images;
}

std::vector<int64_t> ImageStream::entries(int64_t step, training::Part part) const {
  return order_.entries(epoch_of(step), step % order_.batches_per_epoch(), part.first, part.last);
}

at::Tensor ImageStream::load_entries(const std::vector<int64_t>& entries, int64_t epoch, const data::AugmentConfig& config) const {
  if (sets_.size() == 1 || entries.empty()) return data::load_pairs(sets_[0], entries, config, seed_, epoch).images;
  std::vector<at::Tensor> images;
  for (const int64_t entry : entries) images.push_back(load_one(entry, epoch, config));
  return at::cat(images);
}

at::Tensor ImageStream::load(int64_t step, training::Part part, const data::AugmentConfig& config) const {
  return load_entries(entries(step, part), epoch_of(step), config);
}

UnpairedBatches::UnpairedBatches(const data::Dataset& dataset, const std::string& source, const std::string& target, UnpairedOptions options, uint64_t seed,
                                 training::Part part)
    : options_(checked(std::move(options), dataset, source, target)),
      part_(part),
      source_(dataset, source, options_.extra, options_.batch, seed, 1, options_.batch_setting),
      target_(dataset, target, options_.extra, options_.batch, seed, 2, options_.batch_setting) {}

UnpairedBatch UnpairedBatches::load(int64_t step) const {
  return {source_.load(step, part_, options_.augment), target_.load(step, part_, options_.augment)};
}

}  // namespace syncdr::fit
