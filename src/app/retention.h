#pragma once
#include <map>
#include <string>

#include "phases.h"
#include "syncdr/evaluation/report.h"

namespace syncdr::app {

/// Ranks of a translated set's pairs by direction (Direction::name()), under the encoder as it is before training: measured once, then kept in
/// the folder of kept features, retention/SET-HASH.safetensors, by all that they are a function of: runs that share that folder share them. All ranks call it;
/// each gets the result.
std::map<std::string, evaluation::PairRanks> pair_ranks_of(Job& job, const std::string& set);

/// What train.retention lets the set's pairs count in a training; nothing if it is off. Throws DataError if no pair is left.
data::PairWeights pair_weights_of(Job& job, const std::string& set);

/// The figures of a set's pair_ranks_of().
std::vector<evaluation::SetRetention> retention_of(const Job& job, const std::string& set, const std::map<std::string, evaluation::PairRanks>& ranks);

}  // namespace syncdr::app
