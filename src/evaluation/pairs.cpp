#include "pairs.h"

#include "syncdr/core/error.h"

namespace syncdr::evaluation {

std::vector<Pair> pairs_of(const data::ShardList& sources, const data::ShardList& translations) {
  constexpr int32_t quarantined = 2;
  std::vector<Pair> pairs;
  for (int64_t at = 0; at < translations.rows(); ++at) {
    const auto [index, row] = translations.locate(at);
    const auto& shard = translations.shard(index);
    const auto& from = shard.source(row);
    const int64_t source = from.shard < sources.shards() ? sources.first_row(from.shard) + from.row : sources.rows();
    if (source >= sources.rows() || sources.key(source) != from.key || from.variant < 0)
      throw core::DataError("{}: row {} is variant {} of \"{}\", which the dataset does not have in that place: it was packed again. Translate it again",
                            shard.path().string(), row, from.variant, from.key);
    if (from.status != quarantined) pairs.push_back({source, at, from.variant});
  }
  return pairs;
}

}  // namespace syncdr::evaluation
