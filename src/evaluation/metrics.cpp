#include "syncdr/evaluation/metrics.h"

#include <cmath>
#include <numeric>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"

namespace syncdr::evaluation {
namespace {

using Counts = std::map<int64_t, int64_t>;

/// Of one category's queries: correct neighbours, and neighbours that could have been correct.
struct Tally {
  int64_t correct = 0, possible = 0;
};

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
  throw core::DataError("evaluation: no query's category occurs in the gallery. Query and gallery must be labelled alike: check the lists they were packed from.");
}

// One tally for each category that a query and the gallery share, in the order of the labels.
std::vector<Tally> tally_categories(const at::Tensor& neighbours, const at::Tensor& query_labels, const at::Tensor& gallery_labels, int64_t k) {
  const Counts in_gallery = count_labels(gallery_labels);
  std::map<int64_t, Tally> tallies;
  const auto rows = neighbours.accessor<int64_t, 2>();
  const auto queries = query_labels.accessor<int64_t, 1>(), gallery = gallery_labels.accessor<int64_t, 1>();
  for (int64_t q = 0; q < queries.size(0); ++q) {
    const auto found = in_gallery.find(queries[q]);
    if (found == in_gallery.end()) continue;
    const int64_t possible = std::min(k, found->second);
    Tally& tally = tallies[queries[q]];
    tally.possible += possible;
    for (int64_t i = 0; i < possible; ++i) tally.correct += gallery[rows[q][i]] == queries[q];
  }
  std::vector<Tally> result;
  for (const auto& [label, tally] : tallies) result.push_back(tally);
  return result;
}

double share(const Tally& tally) { return static_cast<double>(tally.correct) / static_cast<double>(tally.possible); }

// Between the two nearest order statistics, linearly. sorted: ascending, not empty.
double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

Estimate bootstrap(const std::vector<Tally>& categories, uint64_t seed, int64_t resamples) {
  core::Random random(seed, core::Purpose::bootstrap);
  std::vector<double> shares(static_cast<size_t>(resamples));
  for (double& value : shares) {
    Tally sum;
    for (size_t i = 0; i < categories.size(); ++i) {
      const Tally& drawn = categories[random.below(categories.size())];
      sum.correct += drawn.correct;
      sum.possible += drawn.possible;
    }
    value = share(sum);
  }
  std::sort(shares.begin(), shares.end());
  return {.low = quantile(shares, 0.025), .high = quantile(shares, 0.975)};
}

// Average precision of one query: the mean, over the gallery's images of its category, of the precision at each one's rank. ranked [N] int64
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

Estimate precision_at(const Neighbours& neighbours, const at::Tensor& query_labels, const at::Tensor& gallery_labels, int64_t k, uint64_t seed,
                      int64_t resamples) {
  const auto rows = neighbours.indices.to(at::kCPU);
  SYNCDR_ASSERT(k >= 1 && resamples >= 1, "k = {}, resamples = {}", k, resamples);
  check_labels(query_labels, rows.size(0), "query");
  check_labels(gallery_labels, gallery_labels.numel(), "gallery");
  SYNCDR_ASSERT(rows.size(1) >= std::min(k, gallery_labels.size(0)), "{} neighbours do not tell Prec@{}", rows.size(1), k);
  const auto categories = tally_categories(rows, query_labels, gallery_labels, k);
  if (categories.empty()) no_common_category();
  Tally all;
  for (const auto& tally : categories) all = {all.correct + tally.correct, all.possible + tally.possible};
  Estimate estimate = bootstrap(categories, seed, resamples);
  estimate.value = share(all);
  return estimate;
}

double mean_average_precision(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels) {
  check_labels(query_labels, queries.size(0), "query");
  check_labels(gallery_labels, gallery.size(0), "gallery");
  const at::NoGradGuard no_grad;
  const Counts in_gallery = count_labels(gallery_labels);
  const auto labels = query_labels.accessor<int64_t, 1>(), rows = gallery_labels.accessor<int64_t, 1>();
  constexpr int64_t tile = 256;
  double sum = 0;
  int64_t counted = 0;
  for (int64_t first = 0; first < queries.size(0); first += tile) {
    const auto scores = at::mm(queries.narrow(0, first, std::min(tile, queries.size(0) - first)), gallery.t());
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
