#include "syncdr/evaluation/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"

namespace syncdr::evaluation {
namespace {

/// Sums of hits over queries.
struct Sum {
  double correct = 0;
  int64_t possible = 0;
  void add(const Sum& other) {
    correct += other.correct;
    possible += other.possible;
  }
  void add(const Hits& hits) { add(Sum{hits.correct, hits.possible}); }
};

/// Directions of one measure.
using Directions = std::span<const QueryHits>;

/// Things of which as many are drawn as there are: each has for every measure a sum in every direction from `first` on.
struct Urn {
  size_t first = 0, directions = 1, measures = 1;
  std::vector<Sum> sums;  // [things, measures, directions]
  size_t things() const { return sums.size() / directions / measures; }
};

/// One urn of the categories of all directions, in the order of their labels.
std::vector<Urn> urns_of_categories(std::span<const Directions> measures) {
  const size_t directions = measures.front().size();
  std::map<int32_t, std::vector<Sum>> by_category;
  for (size_t m = 0; m < measures.size(); ++m)
    for (size_t d = 0; d < directions; ++d)
      for (size_t q = 0; q < measures[m][d].hits.size(); ++q) {
        auto& sums = by_category[measures[m][d].categories[q]];
        sums.resize(measures.size() * directions);
        sums[m * directions + d].add(measures[m][d].hits[q]);
      }
  Urn urn{0, directions, measures.size(), {}};
  for (const auto& [category, sums] : by_category) urn.sums.insert(urn.sums.end(), sums.begin(), sums.end());
  return {urn};
}

/// An urn of queries for each direction.
std::vector<Urn> urns_of_queries(std::span<const Directions> measures) {
  std::vector<Urn> urns;
  for (size_t d = 0; d < measures.front().size(); ++d) {
    urns.push_back({d, 1, measures.size(), {}});
    for (size_t q = 0; q < measures.front()[d].hits.size(); ++q)
      for (const Directions& directions : measures) urns.back().sums.push_back({directions[d].hits[q].correct, directions[d].hits[q].possible});
  }
  return urns;
}

// The mean of a measure over directions of the share correct.
double mean_of(std::span<const Sum> sums) {
  double total = 0;
  int64_t counted = 0;  // none of the categories drawn may occur in a direction, where directions differ in them
  for (const Sum& sum : sums) {
    if (sum.possible == 0) continue;
    total += sum.correct / static_cast<double>(sum.possible);
    ++counted;
  }
  return total / static_cast<double>(counted);
}

// Of each measure. pick(urn, i): which thing the i-th draw from an urn gives.
std::vector<double> mean_shares(const std::vector<Urn>& urns, size_t measures, size_t directions, const auto& pick) {
  std::vector<Sum> sums(measures * directions);
  for (size_t u = 0; u < urns.size(); ++u) {
    const Urn& urn = urns[u];
    for (size_t i = 0; i < urn.things(); ++i) {
      const Sum* drawn = urn.sums.data() + pick(u, i) * measures * urn.directions;
      for (size_t m = 0; m < measures; ++m)
        for (size_t d = 0; d < urn.directions; ++d) sums[m * directions + urn.first + d].add(*drawn++);
    }
  }
  std::vector<double> means;
  for (size_t m = 0; m < measures; ++m) means.push_back(mean_of({sums.data() + m * directions, directions}));
  return means;
}

// Between the two nearest order statistics, linearly. sorted: ascending, not empty.
double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

std::vector<Estimate> shares_correct(std::span<const Directions> measures, Unit unit, uint64_t seed, int64_t resamples) {
  const auto urns = unit == Unit::categories ? urns_of_categories(measures) : urns_of_queries(measures);
  const size_t directions = measures.front().size();
  const auto values = mean_shares(urns, measures.size(), directions, [](size_t, size_t i) { return i; });
  std::vector<core::Random> draws;
  for (size_t u = 0; u < urns.size(); ++u) draws.emplace_back(seed, core::Purpose::bootstrap, u);
  std::vector<std::vector<double>> resampled(measures.size());
  for (int64_t r = 0; r < resamples; ++r) {
    const auto shares = mean_shares(urns, measures.size(), directions, [&](size_t u, size_t) { return draws[u].below(urns[u].things()); });
    for (size_t m = 0; m < measures.size(); ++m) resampled[m].push_back(shares[m]);
  }
  std::vector<Estimate> estimates;
  for (size_t m = 0; m < measures.size(); ++m) {
    auto& shares = resampled[m];
    std::sort(shares.begin(), shares.end());
    estimates.push_back(shares.empty() ? Estimate{values[m], values[m], values[m]} : Estimate{values[m], quantile(shares, 0.025), quantile(shares, 0.975)});
  }
  return estimates;
}

}  // namespace

int64_t fewest_categories(std::span<const QueryHits> directions) {
  int64_t fewest = std::numeric_limits<int64_t>::max();
  for (const auto& [categories, hits] : directions) fewest = std::min(fewest, std::ssize(std::set(categories.begin(), categories.end())));
  return fewest;
}

std::string name_of(Unit unit) { return unit == Unit::categories ? "categories" : "queries"; }

Estimate share_correct(std::span<const QueryHits> directions, Unit unit, uint64_t seed, int64_t resamples) {
  return shares_correct({&directions, 1}, unit, seed, resamples).front();
}

Figures figures_of(const HitsByMeasure& hits, Unit unit, uint64_t seed, int64_t resamples) {
  SYNCDR_ASSERT(!hits.empty(), "nothing was measured");
  Figures figures;
  const size_t directions = hits.begin()->second.size();
  figures.directions.resize(directions);
  // Of one direction, or of all.
  const auto fill = [&](size_t first, size_t count, std::map<Measure, Estimate>& to) {
    std::vector<Directions> measures;
    for (const auto& [measure, found] : hits) measures.push_back(Directions(found).subspan(first, count));
    const auto estimates = shares_correct(measures, unit, seed, resamples);
    for (size_t m = 0; const auto& [measure, found] : hits) to[measure] = estimates[m++];
  };
  for (size_t d = 0; d < directions; ++d) fill(d, 1, figures.directions[d]);
  fill(0, directions, figures.mean);
  return figures;
}

QueryHits difference(const QueryHits& arm, const QueryHits& reference) {
  SYNCDR_ASSERT(arm.categories == reference.categories && arm.hits.size() == reference.hits.size(), "arms are compared on different queries");
  QueryHits result = arm;
  for (size_t q = 0; q < result.hits.size(); ++q) {
    SYNCDR_ASSERT(arm.hits[q].possible == reference.hits[q].possible, "arms are compared at different k, or with different galleries");
    result.hits[q].correct -= reference.hits[q].correct;
  }
  return result;
}

HitsByMeasure difference(const HitsByMeasure& arm, const HitsByMeasure& reference) {
  HitsByMeasure result;
  for (const auto& [measure, directions] : arm)
    for (size_t d = 0; d < directions.size(); ++d) result[measure].push_back(difference(directions[d], reference.at(measure).at(d)));
  return result;
}

}  // namespace syncdr::evaluation
