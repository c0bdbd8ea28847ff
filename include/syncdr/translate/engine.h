#pragma once
#include <string>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/data/dataset.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

struct TranslateResult {
  int64_t images = 0;       ///< written by this call, all ranks
  int64_t skipped = 0;      ///< in units that were sealed before; what other jobs seal during the call is counted in neither
  int64_t redrawn = 0;      ///< of the whole translation: blank or broken at first, good with the next noise
  int64_t quarantined = 0;  ///< of the whole translation: broken twice, or not to be read
  double seconds = 0;          ///< of the call
  double compute_seconds = 0;  ///< within the translator, summed over ranks
  std::vector<int64_t> images_by_rank;
};

/// Translates source's split into target's look. A unit is a range of source rows, claimed by one rank of all jobs, written as unit-u.h5 and sealed when
/// it is whole. Sealed units are verified and skipped; damaged ones are made again. Jobs that do not know each other may translate the same split at
/// once: they share the units, and each returns when all are sealed and verified. The manifest (translation.json) is replaced by rank 0 at the end.
/// The bytes written do not depend on the number of ranks, on interruptions, or on repetition (src/translate/README.md says how). All ranks end
/// alike, with a core::Error of code usage if the folder holds a translation made with other settings, bad_data if too many images are quarantined,
/// requeue after a stop signal (sealed units stay).
TranslateResult translate_split(comm::World& world, const data::Dataset& dataset, const std::string& source, const std::string& target, const std::string& split,
                                const TranslateConfig& config, uint64_t seed, Translator& translator);

/// Throws what the texts of a translation would be refused for, before its networks are read: they may be missing in the second direction alone.
void check_texts(const data::Dataset& dataset, const std::string& source, const std::string& target, const std::string& split, const TranslateConfig& config);

/// The run's name: config.run, or the translator's name if that is empty.
std::string run_name(const TranslateConfig& config);

}  // namespace syncdr::translate
