#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "syncdr/data/dataset.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

/// The text that each source image of a run is translated under: one for all, or one each.
class RunPrompts {
 public:
  RunPrompts() = default;
  /// One text for all rows, or one for each, or none. Says each that the translator cuts, once.
  RunPrompts(std::vector<std::string> texts, const Translator& translator);

  /// Empty: the translator takes no text.
  std::string of(int64_t row) const { return texts_.empty() ? "" : texts_.at(texts_.size() == 1 ? 0 : static_cast<size_t>(row)); }
  /// The text and what is cut from it, or a hash of all texts in the rows' order and how many are cut.
  const std::map<std::string, std::string>& provenance() const { return provenance_; }

 private:
  std::vector<std::string> texts_;
  std::map<std::string, std::string> provenance_;
};

/// The target's text in config.prompts, or config.image_prompts' for each of the rows; none without a kind. Throws UsageError if the translator needs what is
/// not configured or takes no text at all; DataError naming file and line, domain or key.
std::vector<std::string> texts_for(const TranslateConfig& config, std::optional<diffusion::PromptKind> kind, const std::string& target,
                                   const data::ShardList& rows);

}  // namespace syncdr::translate
