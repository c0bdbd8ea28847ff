#pragma once
#include <cstdint>
#include <vector>

#include "syncdr/data/dataset.h"

namespace syncdr::evaluation {

/// A translation that may be used, and the image that it was made from: rows of their lists.
struct Pair {
  int64_t source, translation;
  int32_t variant;
};

/// All of a translated set's direction but quarantined ones, in the order of the translations. Throws DataError if one was made from another image than
/// the dataset has in its place.
std::vector<Pair> pairs_of(const data::ShardList& sources, const data::ShardList& translations);

}  // namespace syncdr::evaluation
