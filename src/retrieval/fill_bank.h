#pragma once
#include <span>

#include "kept_features.h"
#include "syncdr/data/pair_set.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/retrieval/trainer.h"

namespace syncdr::retrieval {

/// The first rows of each domain's memory bank: features of every entry in evaluation view by the encoder as it is. Ranks share the work; features
/// travel in pieces to all ranks, each of which keeps what its banks hold.
///
/// A pretrained encoder runs in evaluation mode: the same bits on any number of ranks (features.h). A random one has no running statistics
/// yet: with the initial ones it maps all images to nearly one direction, and such rows mislead the instance loss for whole epochs. So it takes
/// statistics of batches in which all domains, real images and translations are mixed as in training. (This moves its running statistics; they
/// are sums over ranks, so another number of ranks rounds otherwise.)
///
/// kept: of the frozen backbone, if there are any; the head alone then runs.
void fill_banks(comm::World& world, Encoder& encoder, std::span<const data::PairSet* const> sets, const TrainConfig& config, uint64_t seed,
                const KeptFeatures* kept, std::vector<MemoryBank>& banks);

}  // namespace syncdr::retrieval
