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

/// All domains' entries as one list, one domain after the other, dealt to batches like cards, so that each batch is a mixture.
struct Deal {
  std::span<const data::PairSet* const> sets;
  int64_t batch_size;  // of all ranks
  int64_t count() const {
    return std::accumulate(sets.begin(), sets.end(), int64_t{0}, [](int64_t sum, const data::PairSet* set) { return sum + set->size(); });
  }
  int64_t batches() const { return (count() + batch_size - 1) / batch_size; }
  /// The domain of the list's entry, and its entry there.
  std::pair<size_t, int64_t> place(int64_t entry) const {
    size_t domain = 0;
    for (; entry >= sets[domain]->size(); ++domain) entry -= sets[domain]->size();
    return {domain, entry};
  }
  /// A rank's entries of a batch.
  std::vector<int64_t> entries(int64_t batch, int rank, int ranks) const {
    const int64_t size = (count() - batch + batches() - 1) / batches();
    const training::Part part = training::part_of(size, rank, ranks);
    std::vector<int64_t> own;
    for (int64_t k = part.first; k < part.last; ++k) own.push_back(batch + k * batches());
    return own;
  }
};

/// Puts the features [n, D] of batches first ... last - 1, gathered from all ranks, where they belong.
void put(const Deal& deal, int64_t first, int64_t last, int ranks, const at::Tensor& gathered, std::vector<MemoryBank>& banks) {
  std::vector<std::vector<int64_t>> ids(banks.size()), from(banks.size());
  int64_t row = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    for (int64_t batch = first; batch < last; ++batch) {
      for (const int64_t entry : deal.entries(batch, rank, ranks)) {
        const auto [domain, id] = deal.place(entry);
        ids[domain].push_back(id);
        from[domain].push_back(row++);
      }
    }
  }
  for (size_t k = 0; k < banks.size(); ++k) {
    banks[k].put(at::tensor(ids[k], at::kLong), gathered.index_select(0, at::tensor(from[k], at::kLong).to(gathered.device())));
  }
}

/// [n, 3, S, S] uint8, channels last.
at::Tensor evaluation_views(const Deal& deal, const std::vector<int64_t>& entries, const data::AugmentConfig& views, uint64_t seed) {
  at::Tensor pixels = at::empty({static_cast<int64_t>(entries.size()), views.crop, views.crop, 3}, at::kByte);
  data::each_image(pixels.size(0), [&](int64_t k) {
    const auto [domain, entry] = deal.place(entries[static_cast<size_t>(k)]);
    const data::PairSet& set = *deal.sets[domain];
    const core::Random variant(seed, core::Purpose::augmentation, io::hash64(set.key(entry)));
    data::evaluation_view(set.image(entry, variant, views.resize), views, pixels[k].data_ptr<uint8_t>());
  });
  return pixels.permute({0, 3, 1, 2});
}

/// What a frozen backbone makes of them: [n, F] float.
at::Tensor kept_views(const Deal& deal, const std::vector<int64_t>& entries, const KeptFeatures& kept, uint64_t seed) {
  at::Tensor rows = at::empty({std::ssize(entries), kept.width()}, at::kFloat);
  data::each_image(rows.size(0), [&](int64_t k) {
    const auto [domain, entry] = deal.place(entries[static_cast<size_t>(k)]);
    const data::PairSet& set = *deal.sets[domain];
    const data::Place place = set.place(entry, core::Random(seed, core::Purpose::augmentation, io::hash64(set.key(entry))));
    kept.read(place, kept.views(), {rows.data_ptr<float>() + k * kept.width(), static_cast<size_t>(kept.width())});
  });
  return rows;
}

}  // namespace

void fill_banks(comm::World& world, Encoder& encoder, std::span<const data::PairSet* const> sets, const TrainConfig& config, uint64_t seed,
                const KeptFeatures* kept, std::vector<MemoryBank>& banks) {
  const at::NoGradGuard no_gradient;
  const bool pretrained = !config.encoder.weights.empty();
  encoder->train(!pretrained);
  if (!pretrained) nn::set_batch_norm_mode(*encoder, nn::BatchNormMode::global, training::sum_over_ranks(world));
  // Statistics want batches of one size on any number of ranks; without them each rank's threads get a whole call each.
  const int64_t call = images_a_call(world.device(), 128);
  const int64_t threads = world.all_reduce_max(world.device().is_cpu() ? at::get_num_threads() : 1, "agreeing on the memory banks' batches");
  const Deal deal{sets, pretrained ? call * threads * world.size() : 128};
  const auto load = [&](int64_t batch) {
    const auto entries = deal.entries(batch, world.rank(), world.size());
    return kept ? kept_views(deal, entries, *kept, seed) : evaluation_views(deal, entries, config.augment, seed);
  };
  const auto encode = [&](const at::Tensor& inputs) {
    if (kept) return encoder->project(inputs.to(encoder->parameters().front().options().requires_grad(false)));
    if (pretrained) return features_of(encoder, inputs, world.device(), call);
    return encoder->forward(normalise_images(inputs, encoder->normalisation(), world.device()));
  };
  const int64_t piece = std::max<int64_t>(1, 32768 / deal.batch_size);  // batches whose features travel together
  std::vector<at::Tensor> own;
  core::Progress progress("memory banks", deal.batches(), "batches");
  data::Prefetcher<at::Tensor> views(load, 0, deal.batches(), world.threads(config.loader_threads));
  for (int64_t batch = 1; !views.done(); ++batch) {
    own.push_back(encode(views.next()));
    progress.advance(1);
    if (batch % piece != 0 && !views.done()) continue;
    put(deal, (batch - 1) / piece * piece, batch, world.size(), world.all_gather_rows(at::cat(own), "first rows of the memory banks"), banks);
    own.clear();
  }
  encoder->set_batch_norm(training::sum_over_ranks(world));
}

}  // namespace syncdr::retrieval
