#include "settings.h"

#include "arm.h"

#include <algorithm>

namespace syncdr::app {

Settings read_settings(const std::filesystem::path& file, const std::vector<std::string>& sets) {
  Settings settings;
  core::read_config(core::visit_of(settings), file, sets);
  if (settings.run.out.empty()) settings.run.out = (std::filesystem::path("runs") / file.stem()).string();
  if (settings.run.title.empty()) settings.run.title = file.stem().string();
  if (settings.data.root.empty()) throw core::UsageError("{}: data.root is not set. Name a dataset folder (make one with `syncdr-data pack` or `syncdr-data emoji`).", file.string());
  const auto& domains = settings.data.domains;
  if (!domains.empty() && (domains.size() != 2 || domains[0] == domains[1]))
    throw core::UsageError("{}: data.domains must name two different domains.", file.string());
  const auto& arms = settings.run.arms;
  if (arms.empty()) throw core::UsageError("{}: run.arms is empty. Name at least one, as in [\"cds\", \"cut\"].", file.string());
  for (const auto& arm : arms) Arm{arm};  // refuses what is no arm
  for (size_t i = 0; i < arms.size(); ++i)
    if (std::find(arms.begin(), arms.begin() + static_cast<ptrdiff_t>(i), arms[i]) != arms.begin() + static_cast<ptrdiff_t>(i))
      throw core::UsageError("{}: run.arms holds \"{}\" twice.", file.string(), arms[i]);
  if (std::find(arms.begin(), arms.end(), settings.run.main) == arms.end() && settings.run.main != "cut")
    throw core::UsageError("{}: run.main = \"{}\" is not one of run.arms ({}).", file.string(), settings.run.main, fmt::join(arms, ", "));
  return settings;
}

}  // namespace syncdr::app
