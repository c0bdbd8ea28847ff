#include "read_ahead.h"

#include <ATen/ops/zeros.h>

#include "pictures.h"
#include "syncdr/core/error.h"
#include "syncdr/core/parallel.h"

namespace syncdr::translate {

ReadAhead::ReadAhead(const UnitLayout& layout, Claim claim) : layout_(layout), claim_(std::move(claim)), thread_([this] { run(); }) {}

void ReadAhead::run() {
  try {
    while (const auto unit = claim_()) {
      for (int64_t first = 0; first < layout_.images_of(*unit); first += layout_.batch)
        if (!queue_.push(load(*unit, first))) return;
      queue_.wait_until_empty();  // a unit claimed early is one that no idle rank can take
    }
    queue_.end();
  } catch (...) {
    queue_.fail(std::current_exception());
  }
}

SourceBatch ReadAhead::load(int64_t unit, int64_t first) const {
  const auto images = layout_.images_of(unit);
  SourceBatch batch{.unit = unit, .first = first, .count = std::min(layout_.batch, images - first), .last_of_unit = first + layout_.batch >= images};
  batch.images = at::zeros(layout_.batch_shape(), at::kByte);
  batch.faults.resize(static_cast<size_t>(batch.count));
  // Variants of a row lie side by side: it is decoded once, then copied.
  const auto first_row = layout_.row_of(unit, first), end_row = layout_.row_of(unit, first + batch.count - 1) + 1;
  core::parallel_for(end_row - first_row, layout_.codec_threads, [&](int64_t index) {
    const auto row = first_row + index;
    const auto begin = std::max<int64_t>(0, (row - layout_.first_row_of(unit)) * layout_.variants - first);
    const auto end = std::min(batch.count, (row + 1 - layout_.first_row_of(unit)) * layout_.variants - first);
    try {
      const data::Image image = layout_.rows.image(row, layout_.size);
      fill_planes(image, picture_of(batch.images[begin]));
      if (layout_.masks.given()) layout_.masks.fill(row, image, batch.images[begin][3]);
      for (auto slot = begin + 1; slot < end; ++slot) batch.images[slot].copy_(batch.images[begin]);
    } catch (const core::DataError& error) {  // of the image, or of its mask
      for (auto slot = begin; slot < end; ++slot) batch.faults[static_cast<size_t>(slot)] = error.what();
    }
  });
  return batch;
}

}  // namespace syncdr::translate
