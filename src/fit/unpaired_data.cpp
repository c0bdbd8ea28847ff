#include "unpaired_data.h"

#include <ATen/ops/cat.h>

#include <algorithm>

#include "syncdr/core/error.h"

namespace syncdr::fit {
namespace {

std::vector<data::PairSet> image_sets(const data::Dataset& dataset, const std::string& domain, const std::string& extra) {
  std::vector<data::PairSet> sets;
  const std::vector<std::string> no_others;
  const std::vector<data::TranslatedSet> no_sets;
  sets.emplace_back(dataset, domain);
  if (!extra.empty() && dataset.has(domain, extra)) sets.emplace_back(dataset, domain, no_others, no_sets, extra);
  return sets;
}

/// The number of images, if it is enough for a batch.
int64_t images_in(const std::vector<data::PairSet>& sets, const std::string& domain, const UnpairedOptions& options) {
  int64_t images = 0;
  for (const data::PairSet& set : sets) images += set.size();
  if (images < options.batch)
    throw core::UsageError("domain {} has {} training images, fewer than a batch of {}: lower {}.batch", domain, images, options.batch, options.keys);
  return images;
}

}  // namespace

ImageStream::ImageStream(const data::Dataset& dataset, const std::string& domain, UnpairedOptions options, uint64_t seed, uint64_t stream)
    : options_(std::move(options)), sets_(image_sets(dataset, domain, options_.extra)), seed_(seed),
      order_(images_in(sets_, domain, options_), options_.batch, seed, stream) {}

std::vector<int64_t> ImageStream::entries(int64_t step, training::Part part) const {
  return order_.entries(epoch_of(step), step % order_.batches_per_epoch(), part.first, part.last);
}

at::Tensor ImageStream::load(const std::vector<int64_t>& entries, int64_t epoch) const {
  const auto load_from = [&](const data::PairSet& set, const std::vector<int64_t>& own) {
    return data::load_pairs(set, own, options_.augment, seed_, epoch).images;
  };
  if (sets_.size() == 1 || entries.empty()) return load_from(sets_[0], entries);
  std::vector<at::Tensor> images;
  const int64_t first = sets_[0].size();
  for (const int64_t entry : entries) images.push_back(entry < first ? load_from(sets_[0], {entry}) : load_from(sets_[1], {entry - first}));
  return at::cat(images);
}

UnpairedBatches::UnpairedBatches(const data::Dataset& dataset, const std::vector<std::string>& domains, const UnpairedOptions& options, uint64_t seed,
                                 training::Part part)
    : part_(part) {
  const auto has_extra = [&](const std::string& domain) { return dataset.has(domain, options.extra); };
  if (!options.extra.empty() && std::none_of(domains.begin(), domains.end(), has_extra))
    throw core::UsageError("{}: none of {} has a split \"{}\", which is to be trained on too", dataset.root().string(), fmt::join(domains, ", "),
                           options.extra);
  for (const auto& domain : domains) streams_.emplace_back(dataset, domain, options, seed, streams_.size() + 1);
}

UnpairedBatch UnpairedBatches::load(int64_t step) const {
  UnpairedBatch batch;
  for (const ImageStream& stream : streams_) batch.push_back(stream.load(stream.entries(step, part_), stream.epoch_of(step)));
  return batch;
}

}  // namespace syncdr::fit
