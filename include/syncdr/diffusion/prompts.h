#pragma once
#include <filesystem>
#include <string>

namespace syncdr::diffusion {

/// The ways to ask for a domain's look.
enum class PromptKind {
  description,  ///< of an image of the domain
  instruction,  ///< to convert an image into the domain
  subject       ///< a description in which the word S, once, stands for the object
};

/// A domain's text in a prompt file: TOML, one table per domain, whose keys are PromptKind's names (configs/prompts/ has several files). All of the file
/// is checked. Throws DataError naming file, domain and key: an unknown key, an empty text, a subject without one word S, or none for what is asked.
std::string read_prompt(const std::filesystem::path& file, const std::string& domain, PromptKind kind);

/// Where the word S begins that stands for the object, in bytes: a capital S with white space or an end of the text before it, and behind it one of these or
/// one of . , ; : ! ? Throws DataError, which begins with `where`, unless there is exactly one.
size_t subject_place(const std::string& text, const std::string& where);

}  // namespace syncdr::diffusion
