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
  Painter(const Plan& plan, Translator& translator) : plan_(plan), translator_(translator) {}
  /// Translates a batch and hands it on. Returns how many images were quarantined.
  int64_t paint(const SourceBatch& batch, UnitWriter& writer);
  /// Spent within the translator.
  double seconds() const { return seconds_; }

 private:
  struct Waiting {
    int64_t position;
    at::Tensor image;  ///< [3, size, size] uint8, the source
  };
  Translated translate(const at::Tensor& images, std::span<const Request> requests);
  Request request_for(int64_t unit, int64_t position, bool again) const;
  void redraw(int64_t unit, FinishedBatch& finished);
  void quarantine(FinishedBatch& finished, int64_t position, const at::Tensor& source, const std::string& reason);

  const Plan& plan_;
  Translator& translator_;
  std::vector<Waiting> waiting_;  ///< of the unit at hand
  int64_t quarantined_ = 0;       ///< in the batch at hand
  double seconds_ = 0;
};

}  // namespace syncdr::translate
