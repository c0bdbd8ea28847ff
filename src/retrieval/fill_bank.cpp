#include "fill_bank.h"

#include "syncdr/core/progress.h"
#include "syncdr/data/loader.h"
#include "syncdr/io/hash.h"
#include "syncdr/training/data_parallel.h"

namespace syncdr::retrieval {
namespace {

constexpr int64_t fill_batch = 64;

/// [n, 3, S, S] uint8, channels last.
at::Tensor evaluation_views(const data::PairSet& set, int64_t first, int64_t last, const data::AugmentConfig& views, uint64_t seed) {
  at::Tensor pixels = at::empty({last - first, views.crop, views.crop, 3}, at::kByte);
  for (int64_t entry = first; entry < last; ++entry) {
    const core::Random variant(seed, core::Purpose::augmentation, io::hash64(set.key(entry)));
    data::evaluation_view(set.image(entry, variant, views.resize), views, pixels[entry - first].data_ptr<uint8_t>());
  }
  return pixels.permute({0, 3, 1, 2});
}

}  // namespace

at::Tensor fill_bank(comm::World& world, Encoder& encoder, const data::PairSet& set, const TrainConfig& config, uint64_t seed) {
  const at::NoGradGuard no_gradient;
  encoder->eval();
  const training::Part part = training::part_of(set.size(), world.rank(), world.size());
  const auto load = [&](int64_t k) {
    const int64_t first = part.first + k * fill_batch;
    return evaluation_views(set, first, std::min(first + fill_batch, part.last), config.augment, seed);
  };
  std::vector<at::Tensor> rows = {at::empty({0, config.encoder.dim}, at::TensorOptions(world.device()).dtype(at::kFloat))};
  core::Progress progress("memory bank", part.size(), "images");
  data::Prefetcher<at::Tensor> views(load, 0, (part.size() + fill_batch - 1) / fill_batch, config.loader_threads);
  while (!views.done()) {
    rows.push_back(encoder->forward(normalise_images(views.next(), world.device())));
    progress.advance(rows.back().size(0));
  }
  return world.all_gather_rows(at::cat(rows), "first rows of a memory bank");
}

}  // namespace syncdr::retrieval
