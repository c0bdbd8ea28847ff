#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "syncdr/core/philox.h"
#include "syncdr/data/dataset.h"

namespace syncdr::data {

/// How much the pair of each translation counts, by source and target domain: [source rows, variants] double on the CPU, finite and at least 0. One of weight 0
/// is not used at all, as if it were quarantined. In a direction that has no entry all are 1.
using PairWeights = std::map<std::pair<std::string, std::string>, at::Tensor>;

/// A translated set to train on: translations of every ordered pair of domains, made by one translator.
struct TranslatedSet {
  std::string run;       ///< as Dataset::synthetic names it: "cut"
  double share = 1;      ///< > 0: how often a translation comes from this set, relative to the other sets' shares
  int64_t variants = 0;  ///< only the first so many variants of each translation; 0: all
  PairWeights weights;
};

/// The translations of one domain's images into another's look, by one set or several. Quarantined ones are left out, and those without weight: an
/// image has those that are good.
class Translations {
 public:
  /// sources: the source domain's images of the split. Throws DataError when a translation is missing, incomplete, of another split, or does not give
  /// every source row the same variants.
  Translations(const Dataset& dataset, const ShardList& sources, const std::string& source, const std::string& target, const std::vector<TranslatedSet>& sets,
               const std::string& split);

  /// Whether there is a translation of this row of the sources.
  bool has(int64_t source) const;
  /// One of them, which there must be, with its weight: first the set is drawn, by its share among those that have one, then a variant, all equally likely.
  Place draw(int64_t source, core::Random& random) const;
  /// Whether one has another weight than 1.
  bool weighted() const;
  /// All shards that they lie in.
  std::vector<const ShardReader*> shards() const;

 private:
  struct Good {
    int64_t row;  // of the list
    double weight;
  };
  struct Set {
    ShardList list;
    double share;
    std::vector<Good> good;
    std::vector<int64_t> ends;  // those of source i: from ends[i] up to ends[i + 1]
    std::span<const Good> of(int64_t source) const;
  };
  std::vector<Set> sets_;
};

}  // namespace syncdr::data
