#pragma once
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

/// A control without learning: the image's diffusion::structure_map, dark lines on white, the same for every pair of domains. The output is grey.
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
