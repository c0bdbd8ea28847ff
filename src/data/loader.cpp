#include "syncdr/data/loader.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <bit>
#include <cmath>

#include "syncdr/io/hash.h"

namespace syncdr::data {
namespace {

/// Images side by side, [count, S, S, 3] in memory, so that each can be filled as a decoder gives it; seen from outside as [count, 3, S,
/// S].
class ImageBatch {
 public:
  ImageBatch(int64_t count, int64_t side, bool blank)
      : bytes_(blank ? at::zeros({count, side, side, 3}, at::kByte) : at::empty({count, side, side, 3}, at::kByte)),
        stride_(side * side * 3) {}
  uint8_t* row(int64_t index) { return bytes_.data_ptr<uint8_t>() + index * stride_; }
  at::Tensor tensor() const { return bytes_.permute({0, 3, 1, 2}); }

 private:
  at::Tensor bytes_;
  int64_t stride_;
};

/// How the loader asks for one image, and what it does with it.
struct Draw {
  const AugmentConfig& config;
  uint64_t seed;
  int64_t epoch;

  /// step 0 draws the variant, step 1 the augmentation. Four images share a key: the real one and its translation, each as entry and as
  /// counterpart.
  core::Random stream(const std::string& key, bool translated, bool counterpart, uint32_t step) const {
    const uint64_t role = (translated ? 1 : 0) + (counterpart ? 2 : 0);
    return {seed, core::Purpose::augmentation, io::hash64(key) ^ role, static_cast<uint32_t>(epoch), step};
  }
  /// Enlarged views need more of the image's pixels than the plain ones.
  int64_t at_least() const { return static_cast<int64_t>(std::ceil(static_cast<double>(config.resize) * (1 + config.scale))); }

  void image(const PairSet& set, int64_t entry, uint8_t* out) const {
    const bool translated = !set.is_real(entry);
    const Image image = set.image(entry, stream(set.key(entry), translated, false, 0), at_least());
    augment(image, config, stream(set.key(entry), translated, false, 1), out);
  }
  void counterpart(const PairSet& set, int64_t entry, uint8_t* out) const {
    const bool translated = set.is_real(entry);
    const Image image = set.counterpart(entry, stream(set.key(entry), translated, true, 0), at_least());
    augment(image, config, stream(set.key(entry), translated, true, 1), out);
  }
};

}  // namespace

BatchOrder::BatchOrder(int64_t size, int64_t batch, uint64_t seed, uint64_t stream)
    : size_(size), batch_(batch), seed_(seed), stream_(stream) {
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
  const Draw draw{config, seed, epoch};
  ImageBatch images(count, config.crop, false), counterparts(set.has_run() ? count : 0, config.crop, true);
  PairBatch batch{.has_counterpart = at::zeros({count}, at::kBool), .ids = at::tensor(entries, at::kLong)};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t entry = entries[static_cast<size_t>(i)];
    draw.image(set, entry, images.row(i));
    if (!set.has_counterpart(entry)) continue;
    draw.counterpart(set, entry, counterparts.row(i));
    batch.has_counterpart.data_ptr<bool>()[i] = true;
  }
  batch.images = images.tensor();
  if (set.has_run()) batch.counterparts = counterparts.tensor();
  return batch;
}

at::Tensor load_evaluation(const ShardList& list, int64_t first, int64_t last, const AugmentConfig& config) {
  SYNCDR_ASSERT(0 <= first && first <= last && last <= list.rows(), "rows {} to {} of {}", first, last, list.rows());
  ImageBatch images(last - first, config.crop, false);
  for (int64_t row = first; row < last; ++row) evaluation_view(list.image(row, config.resize), config, images.row(row - first));
  return images.tensor();
}

}  // namespace syncdr::data
