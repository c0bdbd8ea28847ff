#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "syncdr/core/philox.h"
#include "syncdr/data/dataset.h"

namespace syncdr::data {

/// A translated set to train on: translations of every ordered pair of domains, made by one translator.
struct TranslatedSet {
  std::string run;       ///< as Dataset::synthetic names it: "cut"
  double share = 1;      ///< > 0: how often a translation comes from this set, relative to the other sets' shares
  int64_t variants = 0;  ///< only the first so many variants of each translation; 0: all
};

/// The translations of one domain's images into another's look, by one set or several. Quarantined ones are left out: an image has those that are good.
class Translations {
 public:
  /// sources: the source domain's images of the split. Throws DataError when a translation is missing, incomplete, of another split, or does not give
  /// every source row the same variants.
  Translations(const Dataset& dataset, const ShardList& sources, const std::string& source, const std::string& target, const std::vector<TranslatedSet>& sets,
               const std::string& split);

  /// Whether there is a translation of this row of the sources.
  bool has(int64_t source) const;
  /// One of them, which there must be: first the set is drawn, by its share among those that have one, then a variant, all equally likely.
  Image draw(int64_t source, core::Random& random, int64_t at_least) const;

 private:
  struct Set {
    ShardList list;
    double share;
    std::vector<int64_t> rows, ends;  // rows of the list that stand for source i: from ends[i] up to ends[i + 1]
    std::span<const int64_t> of(int64_t source) const;
  };
  std::vector<Set> sets_;
};

}  // namespace syncdr::data
