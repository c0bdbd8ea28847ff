#include "fill_bank.h"

#include <numeric>

#include "syncdr/core/progress.h"
#include "syncdr/data/loader.h"
#include "syncdr/io/hash.h"
#include "syncdr/retrieval/features.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/part.h"

namespace syncdr::retrieval {
namespace {

/// All domains' entries as one list, the first domain's first, dealt to batches like cards, so that each batch is a mixture.
struct Deal {
  std::vector<const data::PairSet*> sets;
  int64_t batch_size;  // of all ranks
  int64_t count() const {
    return std::accumulate(sets.begin(), sets.end(), int64_t{0}, [](int64_t sum, const data::PairSet* set) { return sum + set->size(); });
  }
  int64_t batches() const { return (count() + batch_size - 1) / batch_size; }
  /// This rank's entries of a batch.
  std::vector<int64_t> entries(int64_t batch, int rank, int ranks) const {
    const int64_t size = (count() - batch + batches() - 1) / batches();
    const training::Part part = training::part_of(size, rank, ranks);
    std::vector<int64_t> own;
    for (int64_t k = part.first; k < part.last; ++k) own.push_back(batch + k * batches());
    return own;
  }
  /// Where the rows of all ranks, gathered after the last batch, belong in the list.
  std::vector<int64_t> order(int ranks) const {
    std::vector<int64_t> all;
    for (int rank = 0; rank < ranks; ++rank) {
      for (int64_t batch = 0; batch < batches(); ++batch) {
        const auto part = entries(batch, rank, ranks);
        all.insert(all.end(), part.begin(), part.end());
      }
    }
    return all;
  }
};

/// [n, 3, S, S] uint8, channels last.
at::Tensor evaluation_views(const Deal& deal, const std::vector<int64_t>& entries, const data::AugmentConfig& views, uint64_t seed) {
  at::Tensor pixels = at::empty({static_cast<int64_t>(entries.size()), views.crop, views.crop, 3}, at::kByte);
  for (size_t k = 0; k < entries.size(); ++k) {
    int64_t entry = entries[k];
    auto domain = deal.sets.begin();
    for (; entry >= (*domain)->size(); ++domain) entry -= (*domain)->size();
    const data::PairSet& set = **domain;
    const core::Random variant(seed, core::Purpose::augmentation, io::hash64(set.key(entry)));
    data::evaluation_view(set.image(entry, variant, views.resize), views, pixels[static_cast<int64_t>(k)].data_ptr<uint8_t>());
  }
  return pixels.permute({0, 3, 1, 2});
}

}  // namespace

std::vector<at::Tensor> fill_banks(comm::World& world, Encoder& encoder, const std::vector<const data::PairSet*>& sets, const TrainConfig& config,
                                   uint64_t seed) {
  const at::NoGradGuard no_gradient;
  const bool pretrained = !config.encoder.weights.empty();
  encoder->train(!pretrained);
  if (!pretrained) nn::set_batch_norm_mode(*encoder, nn::BatchNormMode::global, training::sum_over_ranks(world));
  // Statistics want batches of one size on any number of ranks; without them each rank's threads get a whole call each.
  const int64_t call = images_a_call(world.device(), 128);
  const int64_t threads = world.all_reduce_max(world.device().is_cpu() ? at::get_num_threads() : 1, "agreeing on the memory banks' batches");
  const Deal deal{sets, pretrained ? call * threads * world.size() : 128};
  const auto load = [&](int64_t batch) { return evaluation_views(deal, deal.entries(batch, world.rank(), world.size()), config.augment, seed); };
  std::vector<at::Tensor> own;
  core::Progress progress("memory banks", deal.batches(), "batches");
  data::Prefetcher<at::Tensor> views(load, 0, deal.batches(), config.loader_threads);
  while (!views.done()) {
    const at::Tensor images = views.next();
    own.push_back(pretrained ? features_of(encoder, images, world.device(), call) : encoder->forward(normalise_images(images, world.device())));
    progress.advance(1);
  }
  encoder->set_batch_norm(training::sum_over_ranks(world));
  const at::Tensor gathered = world.all_gather_rows(at::cat(own), "first rows of the memory banks");
  const at::Tensor order = at::tensor(deal.order(world.size()), at::kLong).to(gathered.device());
  const at::Tensor rows = at::empty_like(gathered).index_copy_(0, order, gathered);
  std::vector<at::Tensor> banks;
  int64_t first = 0;
  for (const data::PairSet* set : sets) {
    banks.push_back(rows.slice(0, first, first + set->size()).clone());
    first += set->size();
  }
  return banks;
}

}  // namespace syncdr::retrieval
