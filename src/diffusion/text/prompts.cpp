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

}  // namespace

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
      if (text.empty()) throw core::DataError("{}: {}.{} is empty. Say what the images look like, or leave the key out.", file.string(), name, key);
    }
  const char* const wanted = kind_names[static_cast<size_t>(kind)];
  const auto found = domains.find(domain);
  if (found == domains.end() || !found->second.contains(wanted))
    throw core::DataError("{}: domain \"{}\" has no {}. Write [{}] and below it {} = \"...\"", file.string(), domain, wanted, domain, wanted);
  return found->second.at(wanted);
}

}  // namespace syncdr::diffusion
