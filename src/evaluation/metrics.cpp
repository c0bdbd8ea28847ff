#include "syncdr/evaluation/metrics.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sort.h>
#include <map>

#include "syncdr/core/error.h"
#include "syncdr/nn/one_thread.h"

namespace syncdr::evaluation {
namespace {

using Counts = std::map<int64_t, int64_t>;

void check_labels(const at::Tensor& labels, int64_t rows, const char* what) {
  SYNCDR_ASSERT(labels.dim() == 1 && labels.scalar_type() == at::kLong && labels.size(0) == rows, "{} labels must be [{}] int64", what, rows);
}

Counts count_labels(const at::Tensor& labels) {
  Counts counts;
  const auto values = labels.accessor<int64_t, 1>();
  for (int64_t i = 0; i < values.size(0); ++i) ++counts[values[i]];
  return counts;
}

[[noreturn]] void no_common_category() {
  throw core::DataError(
      "evaluation: no query's category occurs in the gallery. Query and gallery must be labelled alike: check the lists they were packed "
      "from.");
}

// Average precision of one query: the mean, over the gallery's images of its category, of the precision at each one's rank. ranked [N]
// int64
double average_precision(const at::TensorAccessor<int64_t, 1>& ranked, const at::TensorAccessor<int64_t, 1>& gallery, int64_t label) {
  double sum = 0;
  int64_t correct = 0;
  for (int64_t i = 0; i < ranked.size(0); ++i) {
    if (gallery[ranked[i]] != label) continue;
    ++correct;
    sum += static_cast<double>(correct) / static_cast<double>(i + 1);
  }
  return sum / static_cast<double>(correct);
}

}  // namespace

QueryHits hits_at(const Neighbours& neighbours, const at::Tensor& query_labels, const at::Tensor& gallery_labels, int64_t k) {
  const auto indices = neighbours.indices.to(at::kCPU);
  check_labels(query_labels, indices.size(0), "query");
  check_labels(gallery_labels, gallery_labels.numel(), "gallery");
  SYNCDR_ASSERT(k >= 1 && indices.size(1) >= std::min(k, gallery_labels.size(0)), "{} neighbours do not tell Prec@{}", indices.size(1), k);
  const Counts in_gallery = count_labels(gallery_labels);
  const auto rows = indices.accessor<int64_t, 2>();
  const auto queries = query_labels.accessor<int64_t, 1>(), gallery = gallery_labels.accessor<int64_t, 1>();
  QueryHits result;
  for (int64_t q = 0; q < queries.size(0); ++q) {
    const auto found = in_gallery.find(queries[q]);
    if (found == in_gallery.end()) continue;
    Hits hits{0, static_cast<int32_t>(std::min(k, found->second))};
    for (int32_t i = 0; i < hits.possible; ++i) hits.correct += gallery[rows[q][i]] == queries[q];
    result.categories.push_back(static_cast<int32_t>(queries[q]));
    result.hits.push_back(hits);
  }
  if (result.hits.empty()) no_common_category();
  return result;
}

double mean_average_precision(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels) {
  check_labels(query_labels, queries.size(0), "query");
  check_labels(gallery_labels, gallery.size(0), "gallery");
  const at::NoGradGuard no_grad;
  const Counts in_gallery = count_labels(gallery_labels);
  const auto labels = query_labels.accessor<int64_t, 1>(), rows = gallery_labels.accessor<int64_t, 1>();
  // Every tile has the same shape and one thread: see search.h.
  const int64_t tile = std::min<int64_t>(256, queries.size(0));
  const auto scores_of = [&](int64_t first) {
    const nn::OneThread one_thread;
    const int64_t row = std::min(first, queries.size(0) - tile);
    return at::mm(queries.narrow(0, row, tile), gallery.t()).slice(0, first - row);
  };
  double sum = 0;
  int64_t counted = 0;
  for (int64_t first = 0; first < queries.size(0); first += tile) {
    const auto scores = scores_of(first);
    // Stable: equal scores keep the order of the gallery, as in top_k.
    const auto order = std::get<1>(at::sort(scores, /*stable=*/true, /*dim=*/1, /*descending=*/true)).to(at::kCPU);
    const auto ranked = order.accessor<int64_t, 2>();
    for (int64_t i = 0; i < ranked.size(0); ++i) {
      const int64_t label = labels[first + i];
      if (!in_gallery.contains(label)) continue;
      sum += average_precision(ranked[i], rows, label);
      ++counted;
    }
  }
  if (counted == 0) no_common_category();
  return sum / static_cast<double>(counted);
}

}  // namespace syncdr::evaluation
