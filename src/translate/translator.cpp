#include "syncdr/translate/translator.h"

#include "cut_translator.h"
#include "filter_translator.h"
#include "syncdr/core/error.h"

namespace syncdr::translate {
namespace {

std::unique_ptr<Translator> make_cut(const TranslateConfig& config, const std::string& source, const std::string& target, c10::Device device) {
  const std::filesystem::path weights = config.cut.weights;
  if (weights.empty() || !std::filesystem::is_regular_file(weights))
    throw core::DataError("{}no generator from {} to {}. Train it with `syncdr fit cut`, or name one with translate.cut.weights",
                          weights.empty() ? "" : weights.string() + ": ", source, target);
  return std::make_unique<CutTranslator>(gan::load_generator(weights), weights, config.size, config.batch, device);
}

}  // namespace

at::Tensor from_bytes(const at::Tensor& images, c10::Device device) { return images.to(device).to(at::kFloat).div_(127.5).sub_(1); }

Translated to_bytes(const at::Tensor& images) {
  const auto finite = images.isfinite().flatten(1).all(1);
  // Casting NaN to an integer is undefined: such pixels become grey, and `finite` tells.
  const auto bytes = images.to(at::kFloat).nan_to_num(0, 0, 0).add(1).mul_(127.5).round_().clamp_(0, 255).to(at::kByte);
  return {bytes.cpu().contiguous(), finite.cpu()};
}

std::unique_ptr<Translator> make_translator(const TranslateConfig& config, const std::string& source, const std::string& target, c10::Device device) {
  if (config.translator == "filter") return std::make_unique<FilterTranslator>(config.filter, config.size, config.batch);
  if (config.translator == "cut") return make_cut(config, source, target, device);
  throw core::UsageError("unknown translator \"{}\". Use one of cut, filter.", config.translator);
}

}  // namespace syncdr::translate
