#include <fmt/ranges.h>

#include <map>
#include <set>
#include <utility>

#include "commands.h"
#include "export_table.h"
#include "pack_sources.h"
#include "packer.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"

/// syncdr-data pack: folders, published lists, tables or archives of images become a dataset of shards.
namespace syncdr::data_tools {
namespace {

Sources find_sources(PackOptions& options) {
  ListOptions& list = options.list;
  const int kinds = !options.sources.empty() + !list.lists.empty() + !list.tables.empty() + !list.tars.empty();
  if (options.out.empty()) throw core::UsageError("--out is empty. Name the folder of the dataset to make");
  if (kinds != 1) throw core::UsageError("pack needs folders, or --list, or --table, or --tar: {}", kinds == 0 ? "one of them" : "not several");
  if (options.codec == "raw" && options.size == 0) throw core::UsageError("--codec raw needs --size: raw images of a shard all have one size");
  const bool fixed = !list.lists.empty() || !list.tars.empty();
  if (fixed && (options.halves || options.whole))
    throw core::UsageError("--disjoint and --no-disjoint are for folders and tables: lists and archives already say what trains where");
  if (options.split.val + options.split.test >= 1) throw core::UsageError("--val and --test leave no images to train on");
  for (const auto& folder : std::exchange(options.sources, {}))
    if (is_exported(folder)) list.tables.push_back((folder / export_table).string());
    else options.sources.push_back(folder);
  if (!options.sources.empty() && !list.tables.empty())
    throw core::UsageError("{} is what `syncdr-data export` has written, {} is not: pack them one by one", list.tables.front(),
                           options.sources.front().string());
  if (!list.lists.empty()) return read_lists(list);
  if (!list.tars.empty()) return read_tars(list);
  Sources sources = list.tables.empty() ? scan_folders(options.sources) : read_tables(list);
  if (options.halves && sources.domains.size() != 2) {
    throw core::UsageError("--disjoint is for two domains; here are {}: {}", sources.domains.size(), fmt::join(sources.domains, ", "));
  }
  options.split.disjoint = options.halves || (!options.whole && !sources.split && sources.domains.size() == 2);
  if (sources.split) core::info("the {} name the splits, so --val and --test are not used", list.tables.empty() ? "folders" : "tables");
  assign_splits(sources, options.split);
  return sources;
}

/// What is left out, and what will lack.
void say(const Sources& sources, const PackOptions& options) {
  for (const auto& [why, files] : sources.passed_over) {
    const auto more = files.count - std::ssize(files.some);
    core::warn("{} passed over, {}: {}{}", files.count, why, fmt::join(files.some, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
  }
  const ImageTable& images = sources.images;
  int64_t unlabelled = 0, masked = 0;
  std::map<std::string, std::set<std::string>> splits;  // by domain
  for (size_t i = 0; i < images.size(); ++i) {
    unlabelled += images.label(i) < 0;
    masked += *images.mask(i) != '\0';
    splits[images.domain(i)].insert(images.split(i));
  }
  if (masked > 0 && options.size > 0)
    throw core::UsageError("--size cuts images out, and the table's masks would no longer lie over them. Pack with --size 0, or without the column mask");
  if (!options.sources.empty() && unlabelled == std::ssize(images))
    core::warn("no image has a category: is what was named the folder of all domains, not a domain's own folder?");
  else if (unlabelled > 0) core::info("{} images have no category: they are trained on", unlabelled);
  constexpr std::pair<const char*, const char*> needs[] = {
      {"train", "cannot be trained on"}, {"val", "gives no best epoch"}, {"test", "cannot be reported on"}};
  for (const std::string& domain : sources.domains)
    for (const auto& [split, what] : needs)
      if (!splits[domain].contains(split)) core::warn("the domain \"{}\" has no {} images: it {}", domain, split, what);
}

}  // namespace

void pack(PackOptions options) {
  run_in_team([&](Team& team) {
    Sources sources;
    team.root_only("finding the images", [&] {
      sources = find_sources(options);
      say(sources, options);
    });
    pack_images(team, options, sources);
  });
}

}  // namespace syncdr::data_tools
