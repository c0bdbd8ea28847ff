#pragma once
#include <string>

#include "syncdr/comm/world.h"
#include "syncdr/data/dataset.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

struct TranslateResult {
  int64_t images = 0;        ///< written by this call, all ranks
  int64_t skipped = 0;       ///< in units that an earlier call had sealed
  int64_t redrawn = 0;       ///< blank or broken at first, good with the next noise
  int64_t quarantined = 0;   ///< broken twice
  double seconds = 0;
};

/// Translates source's split into target's look: unit u is source rows [u S, (u+1) S), claimed by ranks, written as unit-u.h5 and sealed by a rename.
/// Sealed units are verified and skipped; damaged ones are made again. The manifest (translation.json) is replaced by rank 0 at the end.
/// The bytes written do not depend on the number of ranks, on interruptions, or on repetition. Throws UsageError if the folder holds a
/// translation made with other settings, StopRequested after a stop signal (sealed units stay).
TranslateResult translate_split(comm::World& world, const data::Dataset& dataset, const std::string& source, const std::string& target, const std::string& split,
                                const TranslateConfig& config, uint64_t seed, Translator& translator);

}  // namespace syncdr::translate
