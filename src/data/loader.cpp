#include "syncdr/data/loader.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <bit>
#include <cmath>

#include "syncdr/io/hash.h"

namespace syncdr::data {
namespace {

/// [count, 3, side, side], channels last: each image lies in memory as a decoder gives it. blank: black, else not filled.
at::Tensor image_batch(int64_t count, int64_t side, bool blank) {
  const std::vector<int64_t> shape{count, side, side, 3};
  return (blank ? at::zeros(shape, at::kByte) : at::empty(shape, at::kByte)).permute({0, 3, 1, 2});
}

uint8_t* pixels_of(const at::Tensor& images, int64_t index) { return images.data_ptr<uint8_t>() + index * images.stride(0); }

}  // namespace

BatchOrder::BatchOrder(int64_t size, int64_t batch, uint64_t seed, uint64_t stream) : size_(size), batch_(batch), seed_(seed), stream_(stream) {
  if (batch < 1 || batch > size) throw core::UsageError("a batch of {} from {} images: use between 1 and {}", batch, size, size);
}

int64_t BatchOrder::entry_at(int64_t epoch, int64_t position) const {
  constexpr uint32_t rounds = 8;
  const int half = std::max(1, (static_cast<int>(std::bit_width(static_cast<uint64_t>(size_ - 1))) + 1) / 2);
  const uint64_t mask = (uint64_t{1} << half) - 1;
  const auto value = static_cast<uint32_t>(epoch);
  auto place = static_cast<uint64_t>(position);
  do {
    uint64_t left = place >> half, right = place & mask;
    for (uint32_t round = 0; round < rounds; ++round) {
      // The half fits 32 bits, so that (stream, half) is a key of its own.
      const uint64_t mixed = left ^ (core::Random(seed_, core::Purpose::order, stream_ << 32 | right, value, round).bits() & mask);
      left = right;
      right = mixed;
    }
    place = left << half | right;
  } while (place >= static_cast<uint64_t>(size_));
  return static_cast<int64_t>(place);
}

std::vector<int64_t> BatchOrder::entries(int64_t epoch, int64_t batch_index, int64_t first, int64_t last) const {
  SYNCDR_ASSERT(epoch >= 0 && batch_index >= 0 && batch_index < batches_per_epoch(), "batch {} of {}", batch_index, batches_per_epoch());
  SYNCDR_ASSERT(0 <= first && first <= last && last <= batch_, "positions {} to {} of a batch of {}", first, last, batch_);
  std::vector<int64_t> chosen;
  for (int64_t position = first; position < last; ++position) chosen.push_back(entry_at(epoch, batch_index * batch_ + position));
  return chosen;
}

PairBatch load_pairs(const PairSet& set, const std::vector<int64_t>& entries, const AugmentConfig& config, uint64_t seed, int64_t epoch) {
  const auto count = static_cast<int64_t>(entries.size());
  // Enlarged views need more of the image's pixels than the plain ones.
  const auto at_least = static_cast<int64_t>(std::ceil(static_cast<double>(config.resize) * (1 + config.scale)));
  const auto load = [&](int64_t entry, bool counterpart, uint8_t* out) {
    // Of two domains four images share a key: the real one and its translation, each as entry and as counterpart.
    const uint64_t role = ((set.is_real(entry) == counterpart ? 1 : 0) + (counterpart ? 2 : 0)) ^ set.salt();
    const auto stream = [&](uint32_t step) {
      return core::Random(seed, core::Purpose::augmentation, io::hash64(set.key(entry)) ^ role, static_cast<uint32_t>(epoch), step);
    };
    const auto variant = stream(0);
    const Image image = counterpart ? set.counterpart(entry, variant, at_least) : set.image(entry, variant, at_least);
    augment(image, config, stream(1), out);
  };
  PairBatch batch{.images = image_batch(count, config.crop, false), .has_counterpart = at::zeros({count}, at::kBool), .ids = at::tensor(entries, at::kLong)};
  if (set.has_translations()) batch.counterparts = image_batch(count, config.crop, true);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t entry = entries[static_cast<size_t>(i)];
    load(entry, false, pixels_of(batch.images, i));
    if (!set.has_counterpart(entry)) continue;
    load(entry, true, pixels_of(batch.counterparts, i));
    batch.has_counterpart.data_ptr<bool>()[i] = true;
  }
  return batch;
}

at::Tensor load_evaluation(const ShardList& list, int64_t first, int64_t last, const AugmentConfig& config) {
  SYNCDR_ASSERT(0 <= first && first <= last && last <= list.rows(), "rows {} to {} of {}", first, last, list.rows());
  const at::Tensor images = image_batch(last - first, config.crop, false);
  for (int64_t row = first; row < last; ++row) evaluation_view(list.image(row, config.resize), config, pixels_of(images, row - first));
  return images;
}

}  // namespace syncdr::data
