#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>

#include "syncdr/core/error.h"
#include "syncdr/diffusion/structure_map.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {
namespace {

/// A control without learning: the image's diffusion::structure_map, dark lines on white, the same for every pair of domains. The output is grey.
class FilterTranslator : public Translator {
 public:
  explicit FilterTranslator(const TranslateConfig& config) : sigma_(config.filter.sigma), size_(config.size), batch_(config.batch) {}
  int64_t batch() const override { return batch_; }
  int64_t size() const override { return size_; }

  Translated translate(const at::Tensor& images, std::span<const Request>) override {
    SYNCDR_ASSERT(images.dim() == 4 && images.size(0) == batch_ && images.size(3) == size_, "the filter is called with its own batch and size");
    at::Tensor output = at::empty_like(images, at::MemoryFormat::Contiguous);
    const at::Tensor sigma = at::full({1}, sigma_, at::kFloat);
    // One image a thread: it stays in the processor's cache through all passes.
    at::parallel_for(0, batch_, 1, [&](int64_t first, int64_t last) {
      for (auto i = first; i < last; ++i) {
        const at::Tensor map = diffusion::structure_map(images.narrow(0, i, 1), sigma);
        output[i].copy_(((map + 1) * 127.5).round_()[0]);
      }
    });
    return {output, at::ones({batch_}, at::kBool)};
  }

  std::map<std::string, std::string> provenance() const override {
    return {{"translator", "filter"}, {"size", std::to_string(size_)}, {"sigma", fmt::format("{}", sigma_)}, {"device", "cpu"}};
  }

 private:
  double sigma_;
  int64_t size_, batch_;
};

}  // namespace

std::unique_ptr<Translator> make_filter(const TranslateConfig& config, const std::string&, const std::string&, c10::Device) {
  return std::make_unique<FilterTranslator>(config);
}

}  // namespace syncdr::translate
