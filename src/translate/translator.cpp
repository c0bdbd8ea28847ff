#include "syncdr/translate/translator.h"

#include <ATen/Context.h>

#include <algorithm>

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/nn/pixels.h"

namespace syncdr::translate {

const TranslatorRow* find_translator(std::string_view name) {
  const auto* found = std::find_if(std::begin(translators), std::end(translators), [&](const TranslatorRow& row) { return row.name == name; });
  return found == std::end(translators) ? nullptr : found;
}

core::Choices translator_names() {
  core::Choices names;
  for (const TranslatorRow& row : translators) names.emplace_back(row.name);
  return names;
}

std::vector<std::string> keys_of(const TranslatorRow& translator) {
  const std::string groups = fmt::format(" {} ", translator.groups);
  TranslateConfig config;
  std::vector<std::string> keys;
  for (const auto& [key, value] : core::list_config(core::visit_of(config)))
    if (const size_t dot = key.find('.'); dot == std::string::npos || groups.find(fmt::format(" {} ", key.substr(0, dot))) != std::string::npos)
      keys.push_back(key);
  return keys;
}

namespace {

core::UsageError prompts_missing(const TranslateConfig& config) {
  return core::UsageError("the translator \"{}\" needs texts: set translate.prompts to a prompt file with a table for each domain (see configs/prompts/)",
                          config.translator);
}

}  // namespace

void check_prompts_set(const TranslateConfig& config) {
  const TranslatorRow* row = find_translator(config.translator);
  const bool of_domains = config.image_prompts.empty() || config.translator == "ddib";  // whose source needs one in any case
  if (row && row->prompt && of_domains && config.prompts.empty()) throw prompts_missing(config);
}

std::string domain_prompt(const TranslateConfig& config, const std::string& domain, diffusion::PromptKind kind) {
  if (config.prompts.empty()) throw prompts_missing(config);
  return diffusion::read_prompt(config.prompts, domain, kind);
}

void say_cut(const std::string& text, const std::string& cut) {
  if (cut.empty() || core::log_rank() != 0) return;
  core::warn("the model has no room for all of the text \"{}\": it does not see its end, \"{}\". Say the same in fewer words", text, cut);
}

Translated to_bytes(const at::Tensor& images) { return {nn::to_bytes(images), images.isfinite().flatten(1).all(1).cpu()}; }

std::unique_ptr<Translator> make_translator(const TranslateConfig& config, const std::string& source, const std::string& target, c10::Device device) {
  const TranslatorRow* row = find_translator(config.translator);
  if (row == nullptr) throw core::UsageError("unknown translator \"{}\". Use one of {}.", config.translator, fmt::join(translator_names(), ", "));
  if (!device.is_cpu()) {
    // Timed or non-deterministic algorithms of CUDA's libraries would let the same image differ between two runs.
    at::globalContext().setBenchmarkCuDNN(false);
    at::globalContext().setDeterministicCuDNN(true);
  }
  if (row->check) row->check(config);
  return row->make(config, source, target, device);
}

}  // namespace syncdr::translate
