#include "syncdr/diffusion/prompts.h"

#include <algorithm>
#include <array>

#include "syncdr/core/config.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/foreign.h"

namespace syncdr::diffusion {
namespace {

constexpr std::array<const char*, 3> kind_names{"description", "instruction", "subject"};  // in PromptKind's order

bool ends_word(const std::string& text, size_t at, std::string_view more) {
  return at >= text.size() || (std::string(" \t\r\n").append(more)).find(text[at]) != std::string::npos;
}

}  // namespace

size_t subject_place(const std::string& text, const std::string& where) {
  std::vector<size_t> places;
  for (size_t at = 0; (at = text.find('S', at)) != std::string::npos; ++at) {
    if (ends_word(text, at - 1, "") && ends_word(text, at + 1, ".,;:!?")) places.push_back(at);
  }
  if (places.size() != 1)
    throw core::DataError("{}: \"{}\" holds the word S {}. It stands for the object: write it once, as in \"a painting of S\"", where, text,
                          places.empty() ? "nowhere" : fmt::format("{} times", places.size()));
  return places[0];
}

std::string read_prompt(const std::filesystem::path& file, const std::string& domain, PromptKind kind) {
  if (std::filesystem::is_regular_file(file)) {
    const std::string content = io::read_file(file, 1 << 20);
    io::refuse_foreign(content, content.size(), file.string());
  }
  const auto domains = core::read_text_tables(file);
  for (const auto& [name, table] : domains)
    for (const auto& [key, text] : table) {
      if (std::find(kind_names.begin(), kind_names.end(), key) == kind_names.end())
        throw core::DataError("{}: unknown key \"{}.{}\". A domain has {}.", file.string(), name, key, fmt::join(kind_names, ", "));
      if (text.find('\0') != std::string::npos) throw core::DataError("{}: {}.{} holds a zero byte", file.string(), name, key);  // no shard could hold it
      if (text.empty()) throw core::DataError("{}: {}.{} is empty. Say what the images look like, or leave the key out.", file.string(), name, key);
      if (key == kind_names[static_cast<size_t>(PromptKind::subject)]) subject_place(text, fmt::format("{}: {}.{}", file.string(), name, key));
    }
  const char* const wanted = kind_names[static_cast<size_t>(kind)];
  const auto found = domains.find(domain);
  if (found == domains.end() || !found->second.contains(wanted))
    throw core::DataError("{}: domain \"{}\" has no {}. Write [{}] and below it {} = \"...\"", file.string(), domain, wanted, domain, wanted);
  return found->second.at(wanted);
}

}  // namespace syncdr::diffusion
