#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "syncdr/data/translations.h"

namespace syncdr::data {

/// One domain's training set: its real images, followed by the translations *into* it of every other domain's images, in the order of the domains.
///
/// Entry i in [0, size()) is an instance of its own: i is its row in the domain's memory bank and its instance label. The published code
/// numbered real and synthetic images separately, so that two images shared a row. Labels are never read. The counterpart of a translation is
/// the real image it was made from; of a real image its translation into another domain. What there are several of is drawn at each access: the
/// other domain, all that have a translation equally likely, and the translation (Translations). An image of which no set has a good translation
/// into the domain gives no entry, and a real one that has none at all no counterpart.
class PairSet {
 public:
  /// Without sets: real images alone, no counterparts (CDS). Throws DataError as Translations.
  explicit PairSet(const Dataset& dataset, const std::string& domain, const std::vector<std::string>& others = {}, const std::vector<TranslatedSet>& sets = {},
                   const std::string& split = "train");

  int64_t size() const { return size_; }
  int64_t real_count() const { return real_.rows(); }
  bool is_real(int64_t entry) const { return entry < real_count(); }
  /// False for real images alone: no entry then has a counterpart.
  bool has_translations() const { return !others_.empty(); }
  /// "DOMAIN/..." key of the image the entry comes from (a translation: its source's key).
  std::string key(int64_t entry) const;
  /// Tells apart the draws of further domains' sets, in which the same keys occur; 0 where there are only two domains.
  uint64_t salt() const { return salt_; }
  bool has_counterpart(int64_t entry) const;
  /// Whether a translation has another weight than 1.
  bool weighted() const { return weighted_; }
  Place place(int64_t entry, core::Random random) const;
  Place counterpart_place(int64_t entry, core::Random random) const;
  Image image(int64_t entry, core::Random random, int64_t at_least = 0) const { return place(entry, random).image(at_least); }
  Image counterpart(int64_t entry, core::Random random, int64_t at_least = 0) const { return counterpart_place(entry, random).image(at_least); }
  /// All shards that any of them may lie in; some may be there twice.
  std::vector<const ShardReader*> shards() const;

 private:
  struct Other {
    ShardList real;
    Translations from, into;       // of the domain's images into the other's look, and of the other's into the domain's
    std::vector<int64_t> sources;  // rows of `real` that have a translation into the domain: an entry each
  };
  /// Which of the others a translation's source belongs to, and its row there.
  std::pair<const Other*, int64_t> source_of(int64_t entry) const;

  ShardList real_;
  std::vector<Other> others_;
  int64_t size_;
  bool weighted_ = false;
  uint64_t salt_ = 0;
};

}  // namespace syncdr::data
