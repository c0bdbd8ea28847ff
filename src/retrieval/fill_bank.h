#pragma once
#include <vector>

#include "syncdr/data/pair_set.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/retrieval/trainer.h"

namespace syncdr::retrieval {

/// The first rows of all domains' memory banks: features of every entry in evaluation view by the encoder as it is. [N, D] float each, on
/// the world's device, equal on every rank. Ranks share the work.
///
/// A pretrained encoder runs in evaluation mode: the same bits on any number of ranks (features.h). A random one has no running statistics
/// yet: with the initial ones it maps all images to nearly one direction, and such rows mislead the instance loss for whole epochs. So it takes
/// statistics of batches in which all domains, real images and translations are mixed as in training. (This moves its running statistics; they
/// are sums over ranks, so another number of ranks rounds otherwise.)
std::vector<at::Tensor> fill_banks(comm::World& world, Encoder& encoder, const std::vector<const data::PairSet*>& sets, const TrainConfig& config,
                                   uint64_t seed);

}  // namespace syncdr::retrieval
