#include "syncdr/evaluation/metrics.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
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

// Average precision of one query: the mean, over the gallery's images of its category, of the precision at each one's rank, and over all orders of equal
// scores. scores [N] descending, ranked [N] int64: the rows that have them
double average_precision(const at::TensorAccessor<float, 1>& scores, const at::TensorAccessor<int64_t, 1>& ranked,
                         const at::TensorAccessor<int64_t, 1>& gallery, int64_t label) {
  double sum = 0;
  int64_t before = 0, correct = 0;
  while (before < ranked.size(0)) {
    int64_t tied = 0, right = 0;
    for (; before + tied < ranked.size(0) && scores[before + tied] == scores[before]; ++tied) right += gallery[ranked[before + tied]] == label;
    // A right one stands in the i-th place of its tie with the same chance as in any other, and the places before it hold their share of the other right ones.
    const double others = tied > 1 ? static_cast<double>(right - 1) / static_cast<double>(tied - 1) : 0;
    for (int64_t i = 0; i < tied && right > 0; ++i)
      sum += static_cast<double>(right) / static_cast<double>(tied) * (static_cast<double>(correct + 1) + static_cast<double>(i) * others) /
             static_cast<double>(before + i + 1);
    before += tied;
    correct += right;
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

std::vector<QueryHits> hits_with_ties(const at::Tensor& queries, const at::Tensor& gallery, const Neighbours& found, const at::Tensor& query_labels,
                                      const at::Tensor& gallery_labels, std::span<const int64_t> cutoffs) {
  const auto scores = found.scores.to(at::kCPU);
  const int64_t columns = scores.size(1), count = std::ssize(cutoffs);
  SYNCDR_ASSERT(columns >= std::min(*std::max_element(cutoffs.begin(), cutoffs.end()) + 1, gallery.size(0)), "{} neighbours do not show ties", columns);
  std::vector<QueryHits> all;
  for (const int64_t k : cutoffs) all.push_back(hits_at(found, query_labels, gallery_labels, k));
  const Counts in_gallery = count_labels(gallery_labels);
  const auto score = scores.accessor<float, 2>();
  const auto labels = query_labels.accessor<int64_t, 1>();
  const auto rows = gallery_labels.accessor<int64_t, 1>();
  const auto indices = found.indices.to(at::kCPU);
  const auto index = indices.accessor<int64_t, 2>();

  // The last score that counts, and whether the next row has it too.
  const auto last = at::zeros({labels.size(0), count}, at::kFloat);
  auto last_of = last.accessor<float, 2>();
  bool ties = false;
  const auto is_tie = [&](int64_t q, int32_t possible) { return possible < columns && score[q][possible] == score[q][possible - 1]; };
  const auto each = [&](const auto& work) {  // (query, place among those that count, cutoff)
    for (int64_t c = 0; c < count; ++c)
      for (int64_t q = 0, counted = 0; q < labels.size(0); ++q)
        if (in_gallery.contains(labels[q])) work(q, static_cast<size_t>(counted++), static_cast<size_t>(c));
  };
  each([&](int64_t q, size_t place, size_t c) {
    const int32_t possible = all[c].hits[place].possible;
    last_of[q][static_cast<int64_t>(c)] = score[q][possible - 1];
    ties = ties || is_tie(q, possible);
  });
  if (!ties) return all;
  const EqualScores equal = count_equal(queries, gallery, last, query_labels, gallery_labels);
  const auto equal_all = equal.all.accessor<int64_t, 2>(), equal_labelled = equal.labelled.accessor<int64_t, 2>();
  each([&](int64_t q, size_t place, size_t c) {
    Hits& hits = all[c].hits[place];
    if (!is_tie(q, hits.possible)) return;
    const auto cutoff = static_cast<int64_t>(c);
    int64_t above = 0;
    hits.correct = 0;
    for (; score[q][above] > last_of[q][cutoff]; ++above) hits.correct += rows[index[q][above]] == labels[q];
    hits.correct += static_cast<double>(hits.possible - above) * static_cast<double>(equal_labelled[q][cutoff]) / static_cast<double>(equal_all[q][cutoff]);
  });
  return all;
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
    const auto [sorted, order] = at::sort(scores, /*stable=*/true, /*dim=*/1, /*descending=*/true);
    const auto sorted_here = sorted.to(at::kCPU), order_here = order.to(at::kCPU);
    const auto ranked = order_here.accessor<int64_t, 2>();
    const auto ranked_scores = sorted_here.accessor<float, 2>();
    for (int64_t i = 0; i < ranked.size(0); ++i) {
      const int64_t label = labels[first + i];
      if (!in_gallery.contains(label)) continue;
      sum += average_precision(ranked_scores[i], ranked[i], rows, label);
      ++counted;
    }
  }
  if (counted == 0) no_common_category();
  return sum / static_cast<double>(counted);
}

}  // namespace syncdr::evaluation
