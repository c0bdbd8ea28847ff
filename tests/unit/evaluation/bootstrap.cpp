#include "syncdr/evaluation/bootstrap.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"

namespace syncdr::evaluation {
namespace {

/// A world in which a category's images are all right or all wrong with probability `rate`: images of one category are not independent.
QueryHits simulated_study(int64_t categories, int64_t images, double rate, uint64_t seed) {
  core::Random random(seed, core::Purpose::order);
  QueryHits study;
  for (int64_t c = 0; c < categories; ++c) {
    const bool right = random.chance(rate);
    for (int64_t i = 0; i < images; ++i) {
      study.categories.push_back(static_cast<int32_t>(c));
      study.hits.push_back({right ? 1.0 : 0.0, 1});
    }
  }
  return study;
}

/// Queries that are right or wrong each by itself.
QueryHits independent_queries(int64_t categories, int64_t queries, double rate, uint64_t seed) {
  core::Random random(seed, core::Purpose::order);
  QueryHits study;
  for (int64_t q = 0; q < queries; ++q) {
    study.categories.push_back(static_cast<int32_t>(q % categories));
    study.hits.push_back({random.chance(rate) ? 1.0 : 0.0, 1});
  }
  return study;
}

Estimate estimate(const std::vector<QueryHits>& directions, uint64_t seed, int64_t resamples = 1000) {
  return share_correct(directions, unit_for(fewest_categories(directions)), seed, resamples);
}

TEST(Unit, IsTheCategoryFromTwentyInEachDirectionOn) {
  const auto nineteen = simulated_study(19, 3, 0.5, 1), twenty = simulated_study(20, 3, 0.5, 1);
  EXPECT_EQ(fewest_categories(std::vector{twenty, nineteen}), 19);
  EXPECT_EQ(unit_for(fewest_categories(std::vector{twenty, twenty})), Unit::categories);
  EXPECT_EQ(unit_for(19), Unit::queries);
  EXPECT_EQ(name_of(Unit::queries), "queries");
}

// The figures that were published for sets of many categories stay what they were: the values are those of the release before queries were kept.
TEST(ShareCorrect, IntervalsOverCategoriesAreThoseOfEarlierReleases) {
  const auto alone = estimate({simulated_study(1140, 2, 0.1, 3)}, 0);
  EXPECT_DOUBLE_EQ(alone.value, 0.094736842105263161);
  EXPECT_DOUBLE_EQ(alone.low, 0.078070175438596498);
  EXPECT_DOUBLE_EQ(alone.high, 0.11142543859649121);
  const auto mean = estimate({simulated_study(60, 1, 0.3, 1), simulated_study(60, 1, 0.6, 2)}, 7);
  EXPECT_DOUBLE_EQ(mean.value, 0.41666666666666669);
  EXPECT_DOUBLE_EQ(mean.low, 0.33333333333333337);
  EXPECT_DOUBLE_EQ(mean.high, 0.5);
}

TEST(ShareCorrect, IntervalOverCategoriesCoversTheTruthInAboutNineteenOfTwentyStudies) {
  constexpr double truth = 0.4;
  constexpr int studies = 300;
  int covered = 0, by_queries = 0;
  for (uint64_t study = 0; study < studies; ++study) {
    const std::vector s{simulated_study(80, 6, truth, study)};
    const auto covers = [](const Estimate& found) { return found.low <= truth && truth <= found.high; };
    covered += covers(share_correct(s, Unit::categories, 1000 + study, 300));
    by_queries += covers(share_correct(s, Unit::queries, 1000 + study, 300));
  }
  // 95 % of 300 is 285 with a standard deviation of 4.
  EXPECT_GE(covered, 0.90 * studies);
  EXPECT_LE(covered, 0.99 * studies);
  EXPECT_LE(by_queries, 0.75 * studies) << "images of one category are not independent";
}

// What an interval over seven categories would be, and why queries are drawn there.
TEST(ShareCorrect, IntervalOverQueriesCoversTheFigureOfTheseCategories) {
  constexpr double truth = 0.4;
  constexpr int studies = 300;
  int covered = 0;
  for (uint64_t study = 0; study < studies; ++study) {
    const auto found = estimate({independent_queries(7, 200, truth, study)}, study, 300);
    covered += found.low <= truth && truth <= found.high;
  }
  EXPECT_GE(covered, 0.90 * studies);
  EXPECT_LE(covered, 0.99 * studies);
}

/// The statement of the method over queries, plainly: every resample draws each direction's queries anew from that direction's own stream.
Estimate brute_force(const std::vector<QueryHits>& directions, uint64_t seed, int64_t resamples) {
  std::vector<core::Random> streams;
  for (uint64_t d = 0; d < directions.size(); ++d) streams.emplace_back(seed, core::Purpose::bootstrap, d);
  std::vector<double> means;
  for (int64_t r = 0; r < resamples; ++r) {
    double mean = 0;
    for (size_t d = 0; d < directions.size(); ++d) {
      const auto& hits = directions[d].hits;
      double correct = 0, possible = 0;
      for (size_t i = 0; i < hits.size(); ++i) {
        const auto& drawn = hits[streams[d].below(hits.size())];
        correct += drawn.correct;
        possible += drawn.possible;
      }
      mean += correct / possible / static_cast<double>(directions.size());
    }
    means.push_back(mean);
  }
  std::sort(means.begin(), means.end());
  // 201 values: 2.5 % and 97.5 % of the way fall on whole places.
  return {0, means[5], means[195]};
}

TEST(ShareCorrect, OverQueriesEqualsBruteForceWithDirectionsOfUnequalSizes) {
  const std::vector directions{independent_queries(7, 31, 0.3, 1), independent_queries(7, 50, 0.7, 2)};
  const auto found = share_correct(directions, Unit::queries, 9, 201), truth = brute_force(directions, 9, 201);
  EXPECT_NEAR(found.low, truth.low, 1e-12);
  EXPECT_NEAR(found.high, truth.high, 1e-12);
}

TEST(ShareCorrect, IsAFunctionOfTheSeed) {
  const std::vector study{simulated_study(40, 1, 0.6, 1)};
  const auto one = estimate(study, 11), again = estimate(study, 11);
  EXPECT_EQ(one.low, again.low);
  EXPECT_EQ(one.high, again.high);
  EXPECT_LT(one.low, one.value);
  EXPECT_GT(one.high, one.value);
}

TEST(ShareCorrect, WithoutResamplesHasNoInterval) {
  const auto found = estimate({simulated_study(40, 1, 0.6, 1)}, 0, 0);
  EXPECT_EQ(found.low, found.value);
  EXPECT_EQ(found.high, found.value);
}

TEST(ShareCorrect, OfDirectionsIsTheirMeanWithOneDrawOfCategories) {
  const auto one = simulated_study(60, 1, 0.3, 1), other = simulated_study(60, 1, 0.6, 2);
  const auto a = estimate({one}, 7), b = estimate({other}, 7), mean = estimate({one, other}, 7), same = estimate({one, one}, 7);
  EXPECT_DOUBLE_EQ(mean.value, (a.value + b.value) / 2);
  EXPECT_LT(mean.low, mean.value);
  EXPECT_GT(mean.high, mean.value);
  // Two directions with the same outcome are no more evidence than one.
  EXPECT_DOUBLE_EQ(same.low, a.low);
  EXPECT_DOUBLE_EQ(same.high, a.high);
}

TEST(ShareCorrect, ACategoryThatADirectionLacksCountsInTheOther) {
  const QueryHits one{{0, 1, 2}, {{1, 1}, {1, 1}, {0, 2}}}, other{{0, 1}, {{1, 1}, {0, 1}}};
  const auto mean = share_correct(std::vector{one, other}, Unit::categories, 0, 500);
  EXPECT_DOUBLE_EQ(mean.value, (2.0 / 4 + 1.0 / 2) / 2);
  EXPECT_GE(mean.low, 0);
  EXPECT_LE(mean.high, 1);
}

TEST(Difference, IsThatOfTheFigures) {
  const auto arm = simulated_study(60, 2, 0.6, 1), reference = simulated_study(60, 2, 0.3, 2);
  const auto found = estimate({difference(arm, reference)}, 3);
  EXPECT_DOUBLE_EQ(found.value, estimate({arm}, 3).value - estimate({reference}, 3).value);
}

// An arm that is right wherever the reference is, and on a few queries more: the two figures' intervals overlap widely, their difference is certain.
TEST(Difference, OnTheSameQueriesIsSurerThanTwoIntervals) {
  const auto reference = independent_queries(7, 400, 0.4, 1);
  auto arm = reference;
  for (size_t q = 0; q < arm.hits.size(); q += 20) arm.hits[q].correct = 1;
  const auto paired = estimate({difference(arm, reference)}, 3);
  EXPECT_GT(estimate({reference}, 3).high, estimate({arm}, 3).low);
  EXPECT_GT(paired.low, 0);
}

TEST(Difference, OfAnArmToItselfIsNothing) {
  const auto arm = simulated_study(60, 2, 0.6, 1);
  const auto found = estimate({difference(arm, arm)}, 3);
  EXPECT_EQ(found.low, 0);
  EXPECT_EQ(found.high, 0);
}

TEST(Difference, IntervalCoversTheTruthInAboutNineteenOfTwentyStudies) {
  constexpr int studies = 300;
  int covered = 0;
  for (uint64_t study = 0; study < studies; ++study) {
    const auto found = estimate({difference(simulated_study(80, 6, 0.5, 2 * study), simulated_study(80, 6, 0.3, 2 * study + 1))}, study, 300);
    covered += found.low <= 0.2 && 0.2 <= found.high;
  }
  EXPECT_GE(covered, 0.90 * studies);
  EXPECT_LE(covered, 0.99 * studies);
}

TEST(Difference, OfDifferentQueriesIsABug) {
  const auto arm = simulated_study(60, 2, 0.6, 1);
  EXPECT_THROW(difference(arm, simulated_study(60, 3, 0.6, 1)), core::BugError);
  auto other = arm;
  other.hits[0].possible = 2;
  EXPECT_THROW(difference(arm, other), core::BugError);
}

}  // namespace
}  // namespace syncdr::evaluation
