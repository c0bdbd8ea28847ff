#include "syncdr/evaluation/feature_map.h"

#include <ATen/ops/cat.h>

#include "embed.h"
#include "page.h"
#include "pairs.h"
#include "syncdr/evaluation/tsne.h"

namespace syncdr::evaluation {
namespace {

/// A list's rows that belong to a group of the map.
struct Chosen {
  data::ShardList list;
  std::vector<int64_t> rows;
  size_t group;
};

/// Of translations of one list, those that may be used: evenly spread, each source once.
std::vector<int64_t> spread_translations(const data::ShardList& sources, const data::ShardList& made, int64_t count) {
  std::vector<int64_t> first;
  for (const Pair& pair : pairs_of(sources, made))
    if (pair.variant == 0) first.push_back(pair.translation);
  std::vector<int64_t> rows;
  for (const int64_t at : spread_rows(std::ssize(first), count)) rows.push_back(first[static_cast<size_t>(at)]);
  return rows;
}

}  // namespace

FeatureMap map_features(comm::World& world, retrieval::Encoder& encoder, const data::Dataset& dataset, const std::vector<std::string>& domains,
                        const std::vector<std::string>& sets, const data::AugmentConfig& views, int64_t batch, int64_t points, const std::string& title) {
  FeatureMap map{.title = title};
  const int64_t kinds = sets.empty() ? 1 : 2, each = points / (kinds * std::ssize(domains));
  const int64_t ways = std::ssize(sets) * (std::ssize(domains) - 1);  // that lead into a domain
  std::vector<Chosen> chosen;
  for (const auto& domain : domains) {
    auto list = dataset.real(domain, "train");
    auto rows = spread_rows(list.rows(), each);
    chosen.push_back({std::move(list), std::move(rows), map.groups.size()});
    map.groups.push_back({domain, false, {}});
    if (sets.empty()) continue;
    for (const auto& source : domains) {
      if (source == domain) continue;
      const auto sources = dataset.real(source, "train");
      for (const auto& set : sets) {
        auto made = dataset.synthetic(source, domain, set);
        auto some = spread_translations(sources, made, std::max<int64_t>(1, each / ways));
        chosen.push_back({std::move(made), std::move(some), map.groups.size()});
      }
    }
    map.groups.push_back({domain, true, {}});
  }
  std::vector<at::Tensor> features;
  std::vector<size_t> groups;
  for (const auto& [list, rows, group] : chosen) {
    if (rows.empty()) continue;
    features.push_back(embed_rows(world, encoder, list, rows, views, batch));
    groups.insert(groups.end(), rows.size(), group);
  }
  if (!world.is_root() || groups.size() < 4) return {.title = title};
  const auto [places, divergence] = tsne(at::cat(features));
  map.divergence = divergence;
  const auto place = places.accessor<float, 2>();
  for (size_t i = 0; i < groups.size(); ++i) map.groups[groups[i]].points.emplace_back(place[static_cast<int64_t>(i)][0], place[static_cast<int64_t>(i)][1]);
  std::erase_if(map.groups, [](const FeatureMap::Group& group) { return group.points.empty(); });
  return map;
}

}  // namespace syncdr::evaluation
