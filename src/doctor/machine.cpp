#include "syncdr/doctor/machine.h"

#include <filesystem>
#include <fstream>

namespace syncdr::doctor {
namespace {

// What stands behind "WORD ... :" in the first such line of a file.
std::string value_in(const std::filesystem::path& file, const std::string& word) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    const size_t colon = line.find(':');
    if (!line.starts_with(word) || colon == std::string::npos) continue;
    const size_t first = line.find_first_not_of(" \t", colon + 1);
    return first == std::string::npos ? "" : line.substr(first);
  }
  return "";
}

}  // namespace

std::string processor_model() { return value_in("/proc/cpuinfo", "model name"); }

std::string gpu_model() {
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/driver/nvidia/gpus", error), end; !error && entry != end; entry.increment(error))
    if (auto model = value_in(entry->path() / "information", "Model"); !model.empty()) return model;
  return "";
}

}  // namespace syncdr::doctor
