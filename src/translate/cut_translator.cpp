#include "cut_translator.h"

#include <torch/version.h>

#include "each_image.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::translate {
CutTranslator::CutTranslator(gan::Generator generator, const std::filesystem::path& weights, int64_t size, int64_t batch, c10::Device device)
    : generator_(std::move(generator)), weights_(weights.filename().string()), model_(nn::state_hash(*generator_)), size_(size), batch_(batch),
      device_(device) {
  if (size % 4 != 0 || size < 16)
    throw core::UsageError("translate.size is {}: CUT's generator halves the image twice, so it must be a multiple of 4, at least 16", size);
  pin_algorithms();
  generator_->eval();
  generator_->to(device_);
}

Translated CutTranslator::translate(const at::Tensor& images, std::span<const Request>) {
  SYNCDR_ASSERT(images.dim() == 4 && images.size(0) == batch_ && images.size(3) == size_, "the generator is called with its own batch and size");
  return to_bytes(each_image(images, device_, [&](const at::Tensor& part, int64_t) { return generator_->forward(part); }));
}

std::map<std::string, std::string> CutTranslator::provenance() const {
  return {{"translator", "cut"},
          {"model", model_},
          {"weights", weights_},
          {"size", std::to_string(size_)},
          {"batch", std::to_string(batch_)},
          {"precision", "float32"},
          {"device", c10::DeviceTypeName(device_.type(), true)},
          {"libtorch", TORCH_VERSION}};
}

}  // namespace syncdr::translate
