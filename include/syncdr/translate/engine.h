#pragma once
#include <string>

#include "syncdr/comm/world.h"
#include "syncdr/data/dataset.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

struct TranslateResult {
  int64_t images = 0;       ///< written by this call, all ranks
  int64_t skipped = 0;      ///< in units that an earlier call had sealed
  int64_t redrawn = 0;      ///< of the whole translation: blank or broken at first, good with the next noise
  int64_t quarantined = 0;  ///< of the whole translation: broken twice, or not to be read
  double seconds = 0;
};

/// Translates source's split into target's look: unit u is source rows [u S, (u+1) S), claimed by ranks, written as unit-u.h5 and sealed by a rename.
/// Sealed units are verified and skipped; damaged ones are made again. The manifest (translation.json) is replaced by rank 0 at the end.
/// The bytes written do not depend on the number of ranks, on interruptions, or on repetition (src/translate/README.md says how). All ranks end
/// alike, with a core::Error of code usage if the folder holds a translation made with other settings, bad_data if too many images are quarantined,
/// requeue after a stop signal (sealed units stay).
TranslateResult translate_split(comm::World& world, const data::Dataset& dataset, const std::string& source, const std::string& target, const std::string& split,
                                const TranslateConfig& config, uint64_t seed, Translator& translator);

/// The run's name: config.run, or the translator's name if that is empty.
std::string run_name(const TranslateConfig& config);

}  // namespace syncdr::translate
