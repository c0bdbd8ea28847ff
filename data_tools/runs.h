#pragma once
#include <filesystem>
#include <vector>

namespace syncdr::data_tools {

/// The translation.json of every finished run of a dataset, by name.
std::vector<std::filesystem::path> translation_manifests(const std::filesystem::path& root);

}  // namespace syncdr::data_tools
