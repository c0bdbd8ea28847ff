#pragma once
#include <filesystem>

#include "syncdr/gan/generator_file.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

/// The generator's output for bytes, in float32: [B, 3, S, S] uint8 -> [B, 3, S, S] in [-1, 1] on the generator's device, without gradients. On a CPU each
/// image is computed alone in one thread, several images at a time: reductions within one image are split by the number of threads, which
/// is another for each number of ranks on a host.
at::Tensor generate(gan::Generator& generator, const at::Tensor& images, c10::Device device);

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
