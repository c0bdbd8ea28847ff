#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "syncdr/evaluation/search.h"

namespace syncdr::evaluation {

/// A share with a bootstrap 95 % interval.
struct Estimate {
  double value = 0, low = 0, high = 0;
};

/// Prec@k as the paper has it: correct among the first k' = min(k, gallery images of the query's category), summed over queries, divided by
/// the sum of k'. Queries whose category the gallery lacks are left out. Labels [Q], [N] int64. neighbours: at least min(k, N) columns.
/// Throws DataError if no query's category is in the gallery. The interval resamples *categories* (images of one category are not
/// independent), `resamples` times, from core::Random(seed, Purpose::bootstrap).
Estimate precision_at(const Neighbours& neighbours, const at::Tensor& query_labels, const at::Tensor& gallery_labels, int64_t k, uint64_t seed,
                      int64_t resamples = 1000);

/// What one direction's queries found, with the labels of queries and gallery.
struct Retrieved {
  Neighbours neighbours;
  at::Tensor query_labels, gallery_labels;
};

/// The mean of all directions' Prec@k. Its interval draws categories once for all directions; with more than two domains a direction may lack some of them,
/// and one that has none of a resample's is left out of its mean. Arguments as above.
Estimate mean_precision_at(const std::vector<Retrieved>& directions, int64_t k, uint64_t seed, int64_t resamples = 1000);

/// Mean average precision over the whole ranking (mAP@All), computed row tile by row tile. Equal scores: the smaller row first. Queries
/// whose category the gallery lacks are left out; DataError if there are no others.
double mean_average_precision(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels);

}  // namespace syncdr::evaluation
