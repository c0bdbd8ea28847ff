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

/// Things of which as many are drawn as there are: each has a sum in every direction from `first` on.
struct Urn {
  size_t first = 0, directions = 1;
  std::vector<Sum> sums;  // [things, directions]
  size_t things() const { return sums.size() / directions; }
};

/// One urn of the categories of all directions, in the order of their labels.
std::vector<Urn> urns_of_categories(std::span<const QueryHits> directions) {
  std::map<int32_t, std::vector<Sum>> by_category;
  for (size_t d = 0; d < directions.size(); ++d)
    for (size_t q = 0; q < directions[d].hits.size(); ++q) {
      auto& sums = by_category[directions[d].categories[q]];
      sums.resize(directions.size());
      sums[d].add(directions[d].hits[q]);
    }
  Urn urn{0, directions.size(), {}};
  for (const auto& [category, sums] : by_category) urn.sums.insert(urn.sums.end(), sums.begin(), sums.end());
  return {urn};
}

/// An urn of queries for each direction.
std::vector<Urn> urns_of_queries(std::span<const QueryHits> directions) {
  std::vector<Urn> urns;
  for (size_t d = 0; d < directions.size(); ++d) {
    urns.push_back({d, 1, {}});
    for (const Hits& hits : directions[d].hits) urns.back().sums.push_back({hits.correct, hits.possible});
  }
  return urns;
}

// The mean over directions of the share correct. pick(urn, i): which thing the i-th draw from an urn gives.
double mean_share(const std::vector<Urn>& urns, size_t directions, const auto& pick) {
  std::vector<Sum> sums(directions);
  for (size_t u = 0; u < urns.size(); ++u) {
    const Urn& urn = urns[u];
    for (size_t i = 0; i < urn.things(); ++i) {
      const size_t thing = pick(u, i);
      for (size_t d = 0; d < urn.directions; ++d) sums[urn.first + d].add(urn.sums[thing * urn.directions + d]);
    }
  }
  double total = 0;
  int64_t counted = 0;  // none of the categories drawn may occur in a direction, where directions differ in them
  for (const Sum& sum : sums) {
    if (sum.possible == 0) continue;
    total += sum.correct / static_cast<double>(sum.possible);
    ++counted;
  }
  return total / static_cast<double>(counted);
}

// Between the two nearest order statistics, linearly. sorted: ascending, not empty.
double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

}  // namespace

int64_t fewest_categories(std::span<const QueryHits> directions) {
  int64_t fewest = std::numeric_limits<int64_t>::max();
  for (const auto& [categories, hits] : directions) fewest = std::min(fewest, std::ssize(std::set(categories.begin(), categories.end())));
  return fewest;
}

std::string name_of(Unit unit) { return unit == Unit::categories ? "categories" : "queries"; }

Estimate share_correct(std::span<const QueryHits> directions, Unit unit, uint64_t seed, int64_t resamples) {
  const auto urns = unit == Unit::categories ? urns_of_categories(directions) : urns_of_queries(directions);
  const double value = mean_share(urns, directions.size(), [](size_t, size_t i) { return i; });
  if (resamples == 0) return {value, value, value};
  std::vector<core::Random> draws;
  for (size_t u = 0; u < urns.size(); ++u) draws.emplace_back(seed, core::Purpose::bootstrap, u);
  std::vector<double> shares(static_cast<size_t>(resamples));
  for (double& share : shares) share = mean_share(urns, directions.size(), [&](size_t u, size_t) { return draws[u].below(urns[u].things()); });
  std::sort(shares.begin(), shares.end());
  return {value, quantile(shares, 0.025), quantile(shares, 0.975)};
}

Figures figures_of(const HitsByCutoff& hits, Unit unit, uint64_t seed, int64_t resamples) {
  Figures figures;
  for (const auto& [k, directions] : hits) {
    figures.directions.resize(directions.size());
    for (size_t d = 0; d < directions.size(); ++d) figures.directions[d][k] = share_correct({&directions[d], 1}, unit, seed, resamples);
    figures.mean[k] = share_correct(directions, unit, seed, resamples);
  }
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

HitsByCutoff difference(const HitsByCutoff& arm, const HitsByCutoff& reference) {
  HitsByCutoff result;
  for (const auto& [k, directions] : arm)
    for (size_t d = 0; d < directions.size(); ++d) result[k].push_back(difference(directions[d], reference.at(k).at(d)));
  return result;
}

}  // namespace syncdr::evaluation
