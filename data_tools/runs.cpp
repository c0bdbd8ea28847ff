#include "runs.h"

#include <algorithm>

namespace syncdr::data_tools {
namespace fs = std::filesystem;

std::vector<fs::path> translation_manifests(const fs::path& root) {
  std::vector<fs::path> found;
  if (!fs::is_directory(root / "synthetic")) return found;
  for (const auto& direction : fs::directory_iterator(root / "synthetic")) {
    if (!direction.is_directory()) continue;
    for (const auto& run : fs::directory_iterator(direction.path())) {
      const fs::path file = run.path() / "translation.json";
      if (fs::is_regular_file(file)) found.push_back(file);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace syncdr::data_tools
