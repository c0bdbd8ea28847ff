#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
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

/// The mean of both directions' Prec@k. Its interval draws categories once for both directions, which share them. Arguments as above;
/// labels of the images of domain a and b.
Estimate mean_precision_at(const Neighbours& a_to_b, const Neighbours& b_to_a, const at::Tensor& labels_a, const at::Tensor& labels_b, int64_t k, uint64_t seed,
                           int64_t resamples = 1000);

/// Mean average precision over the whole ranking (mAP@All), computed row tile by row tile. Equal scores: the smaller row first. Queries
/// whose category the gallery lacks are left out; DataError if there are no others.
double mean_average_precision(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels);

}  // namespace syncdr::evaluation
