#pragma once
#include <filesystem>

#include "syncdr/gan/generator_file.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

/// CUT's generator (Park et al., ECCV 2020), in float32 and in one forward pass.
class CutTranslator : public Translator {
 public:
  /// weights: what the generator was read from, for provenance. Throws UsageError if the generator cannot take the size.
  CutTranslator(gan::Generator generator, const std::filesystem::path& weights, int64_t size, int64_t batch, c10::Device device);
  int64_t batch() const override { return batch_; }
  int64_t size() const override { return size_; }
  bool is_random() const override { return false; }
  Translated translate(const at::Tensor& images, std::span<const Request> requests) override;
  std::map<std::string, std::string> provenance() const override;

 private:
  gan::Generator generator_;
  std::string weights_, model_;
  int64_t size_, batch_;
  c10::Device device_;
};

}  // namespace syncdr::translate
