#include "settings.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "syncdr/core/error.h"

namespace syncdr::app {

const std::vector<PlainArm>& plain_arms() {
  static const std::vector<PlainArm> table{{.name = "cds", .title = "CDS (real images alone)", .trained = true},
                                           {.name = "untrained", .title = "Encoder untrained"},
                                           {.name = "centred", .title = "Encoder untrained, domains centred", .centre = "train"}};
  return table;
}

namespace {

/// Null: there is none of this name.
const PlainArm* find_plain(const std::string& name) {
  const auto row = std::find_if(plain_arms().begin(), plain_arms().end(), [&](const PlainArm& other) { return other.name == name; });
  return row == plain_arms().end() ? nullptr : &*row;
}

}  // namespace

ArmPart::ArmPart(const std::string& text) : base(text.substr(0, text.find(':'))), translator(translate::find_translator(base)) {
  if (base.empty()) throw core::UsageError("run.arms: an arm, or a part of one beside a +, has no name");
  if (base == text) return;
  const std::string count = text.substr(base.size() + 1);
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), variants);
  if (error != std::errc() || end != count.data() + count.size() || variants < 1 || variants > 64)
    throw core::UsageError("run.arms: \"{}\" is no arm: behind the colon stands how many variants of a translation to train on, 1 to 64", text);
}

Arm::Arm(const std::string& text) : name(text) {
  if ((plain = find_plain(text)) != nullptr) return;
  for (size_t first = 0, last = 0; last != std::string::npos; first = last + 1) {
    last = text.find('+', first);
    ArmPart part(text.substr(first, last - first));
    if (find_plain(part.base) || has(part.base))
      throw core::UsageError(
          "run.arms: \"{0}\" is no arm: {1}", text,
          has(part.base) ? fmt::format("\"{}\" is in it twice", part.base) : fmt::format("{} uses no translations, so nothing can be added to it", part.base));
    parts.push_back(std::move(part));
  }
}

bool Arm::has(const std::string& base) const {
  return std::any_of(parts.begin(), parts.end(), [&](const ArmPart& part) { return part.base == base; });
}

std::string Arm::folder() const {
  std::string folder = name;
  std::replace(folder.begin(), folder.end(), ':', '-');
  return folder;
}

std::map<std::string, double> shares_of(const Settings& settings) {
  std::map<std::string, double> shares;
  for (const auto& text : settings.train.shares) {
    const size_t equals = std::min(text.find('='), text.size());
    const std::string name = text.substr(0, equals);
    double share = 0;
    const char *first = text.data() + std::min(equals + 1, text.size()), *last = text.data() + text.size();
    const auto [end, error] = std::from_chars(first, last, share);
    if (error != std::errc() || end != last || !std::isfinite(share) || share <= 0)
      throw core::UsageError("train.shares: \"{}\" is no share: write NAME=SHARE with a number above 0, as in \"filter=2\"", text);
    const auto& arms = settings.run.arms;
    if (std::none_of(arms.begin(), arms.end(), [&](const std::string& arm) { return Arm(arm).has(name); }))
      throw core::UsageError("train.shares: \"{}\" is no part of an arm in run.arms ({})", name, fmt::join(arms, ", "));
    if (!shares.emplace(name, share).second) throw core::UsageError("train.shares names \"{}\" twice", name);
  }
  return shares;
}

const std::string& main_arm(const Settings& settings) {
  if (settings.run.main.empty())
    throw core::UsageError("none of run.arms ({}) trains on translations, which would be the main arm: name one with --arm",
                           fmt::join(settings.run.arms, ", "));
  return settings.run.main;
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
  const auto among = [&](const std::string& name) { return std::find(arms.begin(), arms.end(), name) != arms.end(); };
  auto& main = settings.run.main;
  if (main.empty() || (main == "cut" && !among(main))) {  // "cut" was written into each run's configuration, whatever its arms
    main.clear();
    const auto first = std::find_if(arms.begin(), arms.end(), [](const std::string& arm) { return !Arm(arm).plain; });
    if (first != arms.end()) main = among("cut") ? "cut" : *first;
  } else if (!among(main)) {
    throw core::UsageError("{}: run.main = \"{}\" is not one of run.arms ({}).{}", file.string(), main, fmt::join(arms, ", "), core::did_you_mean(main, arms));
  }
  shares_of(settings);  // refuses what is no share
  return settings;
}

}  // namespace syncdr::app
