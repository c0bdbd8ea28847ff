#pragma once
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

/// A control without learning: dark lines on white where the image changes, the same for every pair of domains.
///
/// After a Gaussian blur, g is the gradient's magnitude (central differences, channels in [0, 1]), the largest over the channels; the output is grey,
/// 1 - min(1, g / (q96 + 0.03)) with q96 the 96 % quantile of the image's own g, so that faint and strong drawings look alike.
class FilterTranslator : public Translator {
 public:
  FilterTranslator(const FilterConfig& config, int64_t size, int64_t batch) : config_(config), size_(size), batch_(batch) {}
  int64_t batch() const override { return batch_; }
  int64_t size() const override { return size_; }
  bool is_random() const override { return false; }
  Translated translate(const at::Tensor& images, std::span<const Request> requests) override;
  std::map<std::string, std::string> provenance() const override;

 private:
  FilterConfig config_;
  int64_t size_, batch_;
};

}  // namespace syncdr::translate
