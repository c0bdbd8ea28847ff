#include "run_prompts.h"

#include <unordered_map>
#include <unordered_set>

#include "syncdr/core/error.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/foreign.h"
#include "syncdr/io/hash.h"
#include "syncdr/translate/engine.h"

namespace syncdr::translate {
namespace {

constexpr size_t max_prompt_bytes = size_t{4} << 30;

using Texts = std::unordered_map<std::string, std::string>;

/// One line, KEY<tab>TEXT. Empty lines pass.
void take_line(Texts& texts, std::string_view line, const std::string& where) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) return;
  const auto tab = line.find('\t');
  if (tab == std::string_view::npos || tab == 0 || tab + 1 == line.size()) throw core::DataError("{}: is not KEY<tab>TEXT", where);
  if (line.find('\t', tab + 1) != std::string_view::npos) throw core::DataError("{}: has more than one tab. A line is KEY<tab>TEXT", where);
  if (!texts.emplace(line.substr(0, tab), line.substr(tab + 1)).second)
    throw core::DataError("{}: the key \"{}\" was there before", where, line.substr(0, tab));
}

Texts read_lines(const std::string& file) {
  const std::string content = io::read_file(file, max_prompt_bytes);
  io::refuse_foreign(content, content.size(), file);
  Texts texts;
  int64_t number = 1;
  for (size_t begin = 0; begin < content.size(); ++number) {
    const auto end = std::min(content.find('\n', begin), content.size());
    take_line(texts, std::string_view(content).substr(begin, end - begin), fmt::format("{}: line {}", file, number));
    begin = end + 1;
  }
  return texts;
}

std::vector<std::string> texts_of_images(const std::string& file, const data::ShardList& rows) {
  const Texts texts = read_lines(file);
  std::vector<std::string> of_rows;
  for (int64_t row = 0; row < rows.rows(); ++row) {
    const auto found = texts.find(rows.key(row));
    if (found == texts.end()) throw core::DataError("{}: has no line for \"{}\"", file, rows.key(row));
    of_rows.push_back(found->second);
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
  if (!config.image_prompts.empty()) return texts_of_images(config.image_prompts, rows);
  return {domain_prompt(config, target, *kind)};
}

}  // namespace syncdr::translate
