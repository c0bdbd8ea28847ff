#pragma once
#include <string>
#include <vector>

#include "read_ahead.h"
#include "syncdr/translate/translator.h"
#include "unit_writer.h"

namespace syncdr::translate {

/// Between reading and writing: calls the translator, and judges what comes out. A blank or non-finite output is drawn once more with other noise at
/// the end of its unit (if there is noise), then quarantined: its row holds the source's pixels and says so.
class Painter {
 public:
  Painter(const UnitLayout& layout, Translator& translator) : layout_(layout), translator_(translator) {}
  /// Translates a batch and hands it on. Returns how many images were quarantined.
  int64_t paint(const SourceBatch& batch, UnitWriter& writer);
  /// Spent within the translator.
  double seconds() const { return seconds_; }

 private:
  /// The first images of a batch are those at these positions of the unit; the rest is padding.
  Translated translate(const at::Tensor& images, int64_t unit, const std::vector<int64_t>& positions, bool again);
  void redraw(FinishedBatch& finished);
  void quarantine(FinishedBatch& finished, int64_t position, const at::Tensor& source, const std::string& reason);

  const UnitLayout& layout_;
  Translator& translator_;
  std::vector<std::pair<int64_t, at::Tensor>> waiting_;  ///< to be drawn again, of the unit at hand: position and source, [3 or 4, size, size] uint8
  int64_t quarantined_ = 0;                              ///< in the batch at hand
  double seconds_ = 0;
};

}  // namespace syncdr::translate
