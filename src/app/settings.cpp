#include "settings.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "syncdr/core/error.h"

namespace syncdr::app {

const std::vector<PlainArm>& plain_arms() {
  static const std::vector<PlainArm> table{{.name = "cds", .title = "CDS (real images alone)", .trained = true},
                                           {.name = "untrained", .title = "Encoder untrained"},
                                           {.name = "centred", .title = "Encoder untrained, domains centred", .centre = "train"}};
  return table;
}

Arm::Arm(const std::string& text) : name(text), base(text.substr(0, text.find(':'))), translator(translate::find_translator(base)) {
  const auto row = std::find_if(plain_arms().begin(), plain_arms().end(), [&](const PlainArm& other) { return other.name == base; });
  plain = row == plain_arms().end() ? nullptr : &*row;
  if (base == text) return;
  const std::string count = text.substr(base.size() + 1);
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), variants);
  if (error != std::errc() || end != count.data() + count.size() || variants < 1 || variants > 64)
    throw core::UsageError("run.arms: \"{}\" is no arm: behind the colon stands how many variants of a translation to train on, 1 to 64", text);
}

std::string Arm::folder() const {
  std::string folder = name;
  std::replace(folder.begin(), folder.end(), ':', '-');
  return folder;
}

Settings read_settings(const std::filesystem::path& file, const std::vector<std::string>& sets) {
  Settings settings;
  core::read_config(core::visit_of(settings), file, sets);
  if (settings.run.out.empty()) settings.run.out = (std::filesystem::path("runs") / file.stem()).string();
  if (settings.run.title.empty()) settings.run.title = file.stem().string();
  if (settings.data.root.empty())
    throw core::UsageError("{}: data.root is not set. Name a dataset folder (make one with `syncdr-data pack` or `syncdr-data emoji`).", file.string());
  const auto& domains = settings.data.domains;
  if (!domains.empty() && (domains.size() < 2 || std::set(domains.begin(), domains.end()).size() != domains.size()))
    throw core::UsageError("{}: data.domains must name two or more different domains.", file.string());
  const auto& arms = settings.run.arms;
  if (arms.empty()) throw core::UsageError("{}: run.arms is empty. Name at least one, as in [\"cds\", \"cut\"].", file.string());
  for (const auto& arm : arms) {
    Arm{arm};  // refuses what is no arm
    if (std::count(arms.begin(), arms.end(), arm) > 1) throw core::UsageError("{}: run.arms holds \"{}\" twice.", file.string(), arm);
  }
  if (std::find(arms.begin(), arms.end(), settings.run.main) == arms.end() && settings.run.main != "cut")
    throw core::UsageError("{}: run.main = \"{}\" is not one of run.arms ({}).", file.string(), settings.run.main, fmt::join(arms, ", "));
  return settings;
}

}  // namespace syncdr::app
