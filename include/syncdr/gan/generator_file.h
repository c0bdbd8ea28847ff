#pragma once
#include <filesystem>

#include "syncdr/gan/cut.h"
#include "syncdr/io/safetensors.h"

namespace syncdr::gan {

/// Writes the generator's parameters atomically; the metadata "generator" holds its GeneratorConfig as TOML.
void save_generator(const std::filesystem::path& file, const Generator& generator);

/// Reads a generator on the CPU. A file without the metadata, such as published weights converted to safetensors, gets its configuration from the
/// tensors' shapes; the constant filters that published files hold are checked and dropped.
/// Throws DataError naming file and tensor if it is broken or no such generator.
Generator load_generator(const std::filesystem::path& file);
/// The same of a file's content.
Generator generator_of(io::Safetensors content, const std::string& where);

}  // namespace syncdr::gan
