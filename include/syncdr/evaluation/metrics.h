#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "syncdr/evaluation/search.h"

namespace syncdr::evaluation {

/// Of a query, or of several: correct neighbours (a fraction where equal scores leave open which they are), and neighbours that could have been correct.
struct Hits {
  double correct = 0;
  int32_t possible = 0;
};

/// What each query of a direction found among its first k' = min(k, gallery images of its category). Kept per query, so that arms can be compared on the
/// same queries. Queries whose category the gallery lacks are left out.
struct QueryHits {
  std::vector<int32_t> categories;  ///< of the queries, in the order of their list
  std::vector<Hits> hits;
};

/// Labels [Q], [N] int64. neighbours: at least min(k, N) columns. Throws DataError if no query's category is in the gallery.
QueryHits hits_at(const Neighbours& neighbours, const at::Tensor& query_labels, const at::Tensor& gallery_labels, int64_t k);

/// The same for several k, with ties averaged: where the last place that counts falls among rows of one score, each of them is as likely to take it, whatever
/// the gallery's order (McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008). An
/// encoder that makes one feature of all images so finds what chance finds.
/// queries [Q, D], gallery [N, D] float on one device; found: their top_k() with min(largest k + 1, N) columns.
std::vector<QueryHits> hits_with_ties(const at::Tensor& queries, const at::Tensor& gallery, const Neighbours& found, const at::Tensor& query_labels,
                                      const at::Tensor& gallery_labels, std::span<const int64_t> cutoffs);

/// Mean average precision over the whole ranking (mAP@All), computed row tile by row tile, over all orders of equal scores (as above). Queries
/// whose category the gallery lacks are left out; DataError if there are no others.
double mean_average_precision(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels);

}  // namespace syncdr::evaluation
