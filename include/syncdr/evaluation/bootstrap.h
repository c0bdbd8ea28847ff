#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "syncdr/evaluation/metrics.h"

/// Figures and their intervals: the percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13), for differences of
/// arms paired over queries (Sakai, "Evaluating evaluation metrics based on the bootstrap", SIGIR 2006).
namespace syncdr::evaluation {

/// A share, or a difference of shares, with a bootstrap 95 % interval.
struct Estimate {
  double value = 0, low = 0, high = 0;
};

/// What is drawn, with replacement. Images of one category are not independent, so that categories are drawn where there are enough: the interval then
/// speaks of other categories too. A handful of categories does not tell how categories differ (Cameron, Gelbach and Miller, "Bootstrap-based improvements
/// for inference with clustered errors", Review of Economics and Statistics, 2008): there queries are drawn, and the interval speaks of other images of
/// these very categories, of no others.
enum class Unit { categories, queries };
inline constexpr int64_t enough_categories = 20;

/// How many categories are in the direction that has the fewest; at least one direction.
int64_t fewest_categories(std::span<const QueryHits> directions);
/// Categories, if there are enough.
inline Unit unit_for(int64_t categories) { return categories >= enough_categories ? Unit::categories : Unit::queries; }

/// "categories" or "queries".
std::string name_of(Unit unit);

/// Prec@k as the paper has it: correct, summed over a direction's queries, divided by what could have been; of several directions their mean. Of other
/// measures, of which each query could have 1, that is the mean over queries. Categories are
/// drawn once for all directions, queries for each. `resamples` draws from core::Random(seed, Purpose::bootstrap); 0: no interval, low and high are the value.
Estimate share_correct(std::span<const QueryHits> directions, Unit unit, uint64_t seed, int64_t resamples);

/// What was found, by measure, in each direction: all measures have the same directions and queries.
using HitsByMeasure = std::map<Measure, std::vector<QueryHits>>;

/// By measure: of each direction, and their mean.
struct Figures {
  std::vector<std::map<Measure, Estimate>> directions;
  std::map<Measure, Estimate> mean;
};
/// share_correct() of all, which have their draws in common.
Figures figures_of(const HitsByMeasure& hits, Unit unit, uint64_t seed, int64_t resamples);

/// What an arm's queries found more than a reference's: share_correct() of it is the difference of their figures, drawn in pairs. Throws BugError if they are
/// not the same queries.
QueryHits difference(const QueryHits& arm, const QueryHits& reference);
HitsByMeasure difference(const HitsByMeasure& arm, const HitsByMeasure& reference);

}  // namespace syncdr::evaluation
