#include <torch/version.h>

#include "each_image.h"
#include "syncdr/core/error.h"
#include "syncdr/gan/generator_file.h"
#include "syncdr/nn/weights.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {
namespace {

/// CUT's generator (Park et al., ECCV 2020), in float32 and in one forward pass.
class CutTranslator : public Translator {
 public:
  CutTranslator(const TranslateConfig& config, const std::filesystem::path& weights, c10::Device device)
      : generator_(gan::load_generator(weights)), weights_(weights.filename().string()), model_(nn::state_hash(*generator_)), size_(config.size),
        batch_(config.batch), device_(device) {
    generator_->eval();
    generator_->to(device_);
  }
  int64_t batch() const override { return batch_; }
  int64_t size() const override { return size_; }

  Translated translate(const at::Tensor& images, std::span<const Request>) override {
    SYNCDR_ASSERT(images.dim() == 4 && images.size(0) == batch_ && images.size(3) == size_, "the generator is called with its own batch and size");
    return to_bytes(each_image(images, device_, [&](const at::Tensor& part, int64_t) { return generator_->forward(part); }));
  }

  std::map<std::string, std::string> provenance() const override {
    return {{"translator", "cut"},
            {"model", model_},
            {"weights", weights_},
            {"size", std::to_string(size_)},
            {"batch", std::to_string(batch_)},
            {"precision", "float32"},
            {"device", c10::DeviceTypeName(device_.type(), true)},
            {"libtorch", TORCH_VERSION}};
  }

 private:
  gan::Generator generator_;
  std::string weights_, model_;
  int64_t size_, batch_;
  c10::Device device_;
};

}  // namespace

void check_cut(const TranslateConfig& config) {
  if (config.size % 4 != 0 || config.size < 16)
    throw core::UsageError("translate.size is {}: CUT's generator halves the image twice, so it must be a multiple of 4, at least 16", config.size);
  if (const std::filesystem::path weights = config.cut.weights; !weights.empty() && !std::filesystem::is_regular_file(weights))
    throw core::DataError("{}: there is no generator. Train it with `syncdr fit cut`, or name another with translate.cut.weights", weights.string());
}

std::unique_ptr<Translator> make_cut(const TranslateConfig& config, const std::string& source, const std::string& target, c10::Device device) {
  if (config.cut.weights.empty())
    throw core::DataError("no generator from {} to {}. Train it with `syncdr fit cut`, or name one with translate.cut.weights", source, target);
  return std::make_unique<CutTranslator>(config, config.cut.weights, device);
}

}  // namespace syncdr::translate
