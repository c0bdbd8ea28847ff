#include "run_prompts.h"

#include <unordered_set>

#include "key_lines.h"
#include "syncdr/core/error.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/hash.h"
#include "syncdr/translate/engine.h"

namespace syncdr::translate {
namespace {

std::vector<std::string> texts_of_images(const std::string& file, const data::ShardList& rows, diffusion::PromptKind kind) {
  const KeyLines texts = read_key_lines(file, "TEXT");
  std::vector<std::string> of_rows;
  for (int64_t row = 0; row < rows.rows(); ++row) {
    const std::string& text = line_for(texts, rows.key(row), file);
    if (kind == diffusion::PromptKind::subject) diffusion::subject_place(text, fmt::format("{}: \"{}\"", file, rows.key(row)));
    of_rows.push_back(text);
  }
  return of_rows;
}

}  // namespace

RunPrompts::RunPrompts(std::vector<std::string> texts, const Translator& translator) : texts_(std::move(texts)) {
  std::unordered_set<std::string_view> seen;
  std::vector<std::string> cuts;
  for (const std::string& text : texts_) {
    if (core::stop_requested()) throw core::StopRequested("stopped on request while texts were read; nothing was made yet");
    if (!seen.insert(text).second) continue;
    const std::string cut = translator.cut_from(text);
    say_cut(text, cut);
    if (!cut.empty()) cuts.push_back(cut);
  }
  if (texts_.empty()) return;
  if (texts_.size() == 1) {
    provenance_["prompt"] = texts_[0];
    if (!cuts.empty()) provenance_["prompt_cut"] = cuts[0];
  } else {
    provenance_["image_prompts"] = fmt::format("{:016x}", io::hash64(fmt::format("{}\n", fmt::join(texts_, "\n"))));
    if (!cuts.empty()) provenance_["image_prompts_cut"] = std::to_string(cuts.size());
  }
}

std::vector<std::string> texts_for(const TranslateConfig& config, std::optional<diffusion::PromptKind> kind, const std::string& target,
                                   const data::ShardList& rows) {
  if (!config.image_prompts.empty() && !kind)
    throw core::UsageError("translate.image_prompts is set, but the translator \"{}\" takes no text. Leave it empty", config.translator);
  if (!kind) return {};
  if (!config.image_prompts.empty()) return texts_of_images(config.image_prompts, rows, *kind);
  return {domain_prompt(config, target, *kind)};
}

}  // namespace syncdr::translate
