#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace syncdr::app {

/// Throws DataError unless a run has begun in the folder.
void check_run_folder(const std::filesystem::path& folder);
/// Writes a page that compares finished runs, and their figures where json names a file; prints a table. Returns the exit code. Throws as report_command.
int compare_runs(const std::vector<std::string>& folders, const std::filesystem::path& page, const std::string& json);

}  // namespace syncdr::app
