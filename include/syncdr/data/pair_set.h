#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "syncdr/core/philox.h"
#include "syncdr/data/dataset.h"

namespace syncdr::data {

/// One domain's training set: its real images, followed by the translations *into* it of the other domain's images.
///
/// Entry i in [0, size()) is an instance of its own: i is its row in the domain's memory bank and its instance label. The published code numbered
/// real and synthetic images separately, so that two images shared a row. Labels are never read.
/// The counterpart of an entry is the other end of its translation: of a real image its translation into the other domain, of a translation the real
/// image it was made from. Quarantined translations are left out, and their sources have no counterpart.
class PairSet {
 public:
  /// run: the translation run ("cut"); empty: real images alone, no counterparts (CDS). Throws DataError when a translation is missing, incomplete,
  /// or does not cover its source's rows.
  PairSet(const Dataset& dataset, const std::string& domain, const std::string& other, const std::string& run, const std::string& split = "train");

  int64_t size() const { return static_cast<int64_t>(own_.rows_of.size()); }
  int64_t real_count() const { return real_count_; }
  bool is_real(int64_t entry) const { return entry < real_count_; }
  /// "DOMAIN/..." key of the image the entry comes from (a translation: its source's key).
  const std::string& key(int64_t entry) const;
  bool has_counterpart(int64_t entry) const;
  /// A run with several variants of a translation: one is drawn.
  Image image(int64_t entry, core::Random random, int64_t at_least = 0) const;
  Image counterpart(int64_t entry, core::Random random, int64_t at_least = 0) const;

 private:
  /// A list of images, each with the rows (one a variant) that may stand for it.
  struct Side {
    std::vector<std::vector<int64_t>> rows_of;
  };
  ShardList real_, into_, other_real_, from_;
  Side own_, counterparts_;
  int64_t real_count_ = 0;
};

}  // namespace syncdr::data
