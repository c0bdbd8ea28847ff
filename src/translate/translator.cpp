#include "syncdr/translate/translator.h"

#include "cut_translator.h"
#include "diffusion_translators.h"
#include "filter_translator.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/nn/pixels.h"

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

std::string domain_prompt(const TranslateConfig& config, const std::string& domain, diffusion::PromptKind kind) {
  if (config.prompts.empty())
    throw core::UsageError("the translator \"{}\" needs texts: set translate.prompts to a prompt file with a table [{}] (see configs/prompts/)", config.translator,
                           domain);
  return diffusion::read_prompt(config.prompts, domain, kind);
}

void say_cut(const std::string& text, const std::string& cut) {
  if (cut.empty() || core::log_rank() != 0) return;
  core::warn("the model has no room for all of the text \"{}\": it does not see its end, \"{}\". Say the same in fewer words", text, cut);
}

Translated to_bytes(const at::Tensor& images) {
  return {nn::to_bytes(images), images.isfinite().flatten(1).all(1).cpu()};
}

std::unique_ptr<Translator> make_translator(const TranslateConfig& config, const std::string& source, const std::string& target, c10::Device device) {
  if (config.translator == "filter") return std::make_unique<FilterTranslator>(config.filter, config.size, config.batch);
  if (config.translator == "cut") return make_cut(config, source, target, device);
  if (config.translator == "img2img") return std::make_unique<Img2ImgTranslator>(config, device);
  if (config.translator == "instruct") return std::make_unique<InstructTranslator>(config, device);
  if (config.translator == "ddib") return std::make_unique<DdibTranslator>(config, source, device);
  if (config.translator == "structure") return std::make_unique<StructureTranslator>(config, device);
  throw core::UsageError("unknown translator \"{}\". Use one of cut, filter, img2img, instruct, ddib, structure.", config.translator);
}

}  // namespace syncdr::translate
