#pragma once
#include <filesystem>
#include <string>

namespace syncdr::diffusion {

/// The ways to ask for a domain's look.
enum class PromptKind {
  description,  ///< of an image of the domain
  instruction,  ///< to convert an image into the domain
  subject       ///< a description in which the word S stands for the object
};

/// A domain's text in a prompt file: TOML, one table per domain, whose keys are PromptKind's names (configs/prompts/ has several files). All of the file
/// is checked. Throws DataError naming file, domain and key: an unknown key, an empty text, or none for what is asked.
std::string read_prompt(const std::filesystem::path& file, const std::string& domain, PromptKind kind);

}  // namespace syncdr::diffusion
