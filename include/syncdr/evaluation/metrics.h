#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "syncdr/evaluation/search.h"

namespace syncdr::evaluation {

/// Of a query, or of several: correct neighbours, and neighbours that could have been correct.
struct Hits {
  int32_t correct = 0, possible = 0;
};

/// What each query of a direction found among its first k' = min(k, gallery images of its category). Kept per query, so that arms can be compared on the
/// same queries. Queries whose category the gallery lacks are left out.
struct QueryHits {
  std::vector<int32_t> categories;  ///< of the queries, in the order of their list
  std::vector<Hits> hits;
};

/// Labels [Q], [N] int64. neighbours: at least min(k, N) columns. Throws DataError if no query's category is in the gallery.
QueryHits hits_at(const Neighbours& neighbours, const at::Tensor& query_labels, const at::Tensor& gallery_labels, int64_t k);

/// Mean average precision over the whole ranking (mAP@All), computed row tile by row tile. Equal scores: the smaller row first. Queries
/// whose category the gallery lacks are left out; DataError if there are no others.
double mean_average_precision(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels);

}  // namespace syncdr::evaluation
