#pragma once
#include <set>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/data/dataset.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

/// What is translated: a domain's images of one split, into another domain's look.
struct TranslationTask {
  const data::Dataset& dataset;
  std::string source, target, split;
};

struct TranslateResult {
  int64_t images = 0;          ///< written by this call, all ranks
  int64_t skipped = 0;         ///< in units that were sealed before; what other jobs seal during the call is counted in neither
  int64_t redrawn = 0;         ///< of the whole translation: blank or broken at first, good with the next noise
  int64_t quarantined = 0;     ///< of the whole translation: broken twice, or not to be read
  double seconds = 0;          ///< of the call
  double compute_seconds = 0;  ///< within the translator, summed over ranks
  std::vector<int64_t> images_by_rank;
};

/// Translates the task's images into a run's folder; what is there and whole is kept. Jobs that do not know each other may do so at once: they share the
/// work. The bytes depend neither on the number of ranks nor on interruptions (src/translate/README.md says how). All ranks end alike, with a core::Error
/// of code usage if the folder holds a translation made with other settings, bad_data if too many images are quarantined, requeue after a stop signal
/// (what is sealed stays).
TranslateResult translate_split(comm::World& world, const TranslationTask& task, const TranslateConfig& config, uint64_t seed, Translator& translator);

/// Throws what a translation would be refused for, as far as that shows before its model is read, or fitted (config names none then): its settings, images and
/// texts, which may be missing in the second direction alone.
void check_translation(const TranslationTask& task, const TranslateConfig& config);

/// The texts that check_translation lets pass for a translation of the task: the target's or the images' own, the negative one, ddib's of the source. None for
/// translators that take no text.
std::set<std::string> texts_of(const TranslationTask& task, const TranslateConfig& config);

/// The run's name: config.run, or the translator's name if that is empty.
std::string run_name(const TranslateConfig& config);

}  // namespace syncdr::translate
