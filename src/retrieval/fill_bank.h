#pragma once
#include "syncdr/data/pair_set.h"
#include "syncdr/retrieval/trainer.h"

namespace syncdr::retrieval {

/// The first rows of a domain's memory bank: features of every entry by the encoder as it is, in evaluation mode and evaluation views.
/// [N, D] float on the world's device, equal on every rank; ranks share the work. The encoder is left in evaluation mode.
at::Tensor fill_bank(comm::World& world, Encoder& encoder, const data::PairSet& set, const TrainConfig& config, uint64_t seed);

}  // namespace syncdr::retrieval
