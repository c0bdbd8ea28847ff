#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "syncdr/core/philox.h"
#include "syncdr/data/dataset.h"

namespace syncdr::data {

/// Translations that are not used, beside quarantined ones: by source and target domain whether each is, [source rows, variants] bool on the CPU. A
/// direction that has no entry is used whole.
using LeftOut = std::map<std::pair<std::string, std::string>, at::Tensor>;

/// One domain's training set: its real images, followed by the translations *into* it of the other domain's images.
///
/// Entry i in [0, size()) is an instance of its own: i is its row in the domain's memory bank and its instance label. The published code
/// numbered real and synthetic images separately, so that two images shared a row. Labels are never read. The counterpart of an entry is
/// the other end of its translation: of a real image its translation into the other domain, of a translation the real image it was made
/// from. Quarantined translations are left out, and those that the caller does not want; their sources have no counterpart.
class PairSet {
 public:
  /// run: the translation run ("cut"); empty: real images alone, no counterparts (CDS). Throws DataError when a translation is missing,
  /// incomplete, of another split, or does not give every row of its source the same variants. variants: only the first so many of each
  /// translation; 0: all.
  PairSet(const Dataset& dataset, const std::string& domain, const std::string& other, const std::string& run, const std::string& split = "train",
          int64_t variants = 0, const LeftOut& left_out = {});

  int64_t size() const { return own_.size(); }
  int64_t real_count() const { return real_.rows(); }
  bool is_real(int64_t entry) const { return entry < real_count(); }
  /// False for a set made without a run: no entry then has a counterpart.
  bool has_run() const { return has_run_; }
  /// "DOMAIN/..." key of the image the entry comes from (a translation: its source's key).
  const std::string& key(int64_t entry) const;
  bool has_counterpart(int64_t entry) const { return has_run_ && !counterparts_.rows(entry).empty(); }
  /// A run with several variants of a translation: one is drawn.
  Image image(int64_t entry, core::Random random, int64_t at_least = 0) const;
  Image counterpart(int64_t entry, core::Random random, int64_t at_least = 0) const;

  /// For each of a list of entries the rows of a shard list (one a variant) that may stand for it.
  class Side {
   public:
    int64_t size() const { return static_cast<int64_t>(ends_.size()); }
    /// One of the entry's rows, all equally likely; the entry must have one.
    int64_t draw(int64_t entry, core::Random& random) const;
    void add_row(int64_t row) { rows_.push_back(row); }  ///< of the entry that end_entry() ends
    void end_entry() { ends_.push_back(static_cast<int64_t>(rows_.size())); }
    std::span<const int64_t> rows(int64_t entry) const;

   private:
    std::vector<int64_t> rows_, ends_;
  };

 private:
  ShardList real_, into_;        // the entries' images: of the domain, and the other's translated into it
  ShardList from_, other_real_;  // their counterparts': the domain's translated into the other, and the other's own
  Side own_, counterparts_;
  bool has_run_ = false;
};

}  // namespace syncdr::data
