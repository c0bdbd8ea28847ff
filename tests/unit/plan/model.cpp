#include "model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <random>

#include "syncdr/translate/units.h"

// The model is compared with simulations that follow every batch, bucket and failure, and share no code with it.
namespace syncdr::plan {
namespace {

double number(int64_t value) { return static_cast<double>(value); }

TranslatePlan some_translation() {
  TranslatePlan plan;
  plan.images = 20000;
  plan.directions = 2;
  plan.seconds_per_image = 0.05;
  plan.write_seconds = 0.004;
  plan.claim_seconds = 0;
  plan.job.start_seconds = 0;
  return plan;
}

TrainPlan some_training() {
  TrainPlan plan;
  plan.steps = 5000;
  plan.images_per_step = 1024;
  plan.seconds_per_image = 1e-3;
  plan.step_seconds = 0.01;
  plan.parameters = 25'000'000;
  plan.batch_norm_layers = 53;
  plan.job.start_seconds = 0;
  return plan;
}

/// One rank of the simulated translation: a painter and a writer with a queue of two batches between them.
struct SimulatedRank {
  double painted = 0, written = 0;
  std::deque<double> queued;  // when the writer takes each of the last two batches

  void make_unit(const TranslatePlan& plan, int64_t rows) {
    painted += plan.claim_seconds;
    for (int64_t left = rows * plan.variants; left > 0; left -= plan.batch) {
      const double images = number(std::min(left, plan.batch));
      painted += plan.seconds_per_image * (plan.device == "gpu" ? number(plan.batch) : images);
      if (queued.size() == 2) {
        painted = std::max(painted, queued.front());  // the queue is full: the painter waits
        queued.pop_front();
      }
      const double taken = std::max(painted, written);
      queued.push_back(taken);
      written = taken + images * plan.write_seconds;
    }
    written += plan.seal_seconds;
  }
};

double simulated_direction(const TranslatePlan& plan, int64_t rows, int64_t ranks) {
  const auto starts = translate::unit_starts(rows, plan.unit_rows, plan.taper, translate::batch_rows(plan.variants, plan.batch));
  std::vector<SimulatedRank> all(static_cast<size_t>(ranks));
  for (size_t unit = 0; unit + 1 < starts.size(); ++unit)
    std::ranges::min_element(all, {}, &SimulatedRank::painted)->make_unit(plan, starts[unit + 1] - starts[unit]);
  double end = 0;
  for (const auto& rank : all) end = std::max(end, rank.written);
  return end;
}

double simulated_translation(const TranslatePlan& plan, int64_t ranks) {
  double seconds = 0;
  for (int64_t d = 0; d < plan.directions; ++d)
    seconds += simulated_direction(plan, plan.images / plan.directions + (d < plan.images % plan.directions), ranks);
  return seconds;
}

/// One step in which buckets leave as the backward pass completes them, one after the other.
double simulated_step(const TrainPlan& plan, int64_t ranks) {
  const double images = std::ceil(number(plan.images_per_step) / number(ranks)), compute = images * plan.seconds_per_image;
  const double bytes = 4 * number(plan.parameters), hidden = plan.overlap * compute * 2 / 3, begin = compute - hidden;
  double sent = 0, line_free = 0;
  for (double bucket = 1 << 20; sent < bytes; bucket = 25 << 20) {
    const double now = std::min(bucket, bytes - sent);
    sent += now;
    line_free = std::max(line_free, begin + hidden * sent / bytes) + all_reduce_seconds(plan, ranks, now);
  }
  double seconds = line_free + plan.step_seconds + 2 * number(plan.batch_norm_layers) * all_reduce_seconds(plan, ranks, 0);
  const double rounds = std::ceil(std::log2(number(ranks)));
  const double feature_bytes = number(plan.images_per_step * plan.feature_dim * 4);
  return seconds + 4 * rounds * 1e-6 * plan.latency_us + number(ranks - 1) / number(ranks) * feature_bytes / (1e9 * plan.bandwidth_gb);
}

/// A job of equal segments that fails at random; the mean time of many.
double simulated_failures(int64_t segments, double segment, double rate, double start, double requeue) {
  std::mt19937_64 random(1);
  std::exponential_distribution<double> until_failure(rate);
  double total = 0;
  constexpr int jobs = 4000;
  for (int job = 0; job < jobs; ++job) {
    int64_t done = 0;
    while (done < segments) {
      const double life = until_failure(random), needed = start + number(segments - done) * segment;
      if (life >= needed) {
        total += needed;
        break;
      }
      if (life > start) done += static_cast<int64_t>((life - start) / segment);
      total += life + requeue;
    }
  }
  return total / jobs;
}

TEST(PlanTranslate, AgreesWithASimulationOfEveryBatch) {
  auto plan = some_translation();
  for (const bool tapered : {true, false})
    for (const double write : {0.004, 0.08})
      for (const int64_t ranks : {1, 2, 3, 16, 64, 200}) {
        plan.taper = tapered ? 16 : 0;
        plan.write_seconds = write;
        const double simulated = simulated_translation(plan, ranks), planned = plan_translate(plan, ranks).seconds;
        EXPECT_NEAR(planned, simulated, 0.03 * simulated) << ranks << " ranks, " << write << " s to write, tapered " << tapered;
      }
}

TEST(PlanTranslate, OneRankComputesWithoutATail) {
  auto plan = some_translation();
  plan.seal_seconds = plan.write_seconds = 0;
  const auto point = plan_translate(plan, 1);
  EXPECT_NEAR(point.seconds, 20000 * 0.05, 1e-6);
  EXPECT_NEAR(point.efficiency, 1, 1e-9);
  plan.job.start_seconds = 250;
  EXPECT_NEAR(plan_translate(plan, 1).efficiency, 1000.0 / 1250, 1e-9);
}

TEST(PlanTranslate, TheSharedFolderIsALowerBound) {
  auto plan = some_translation();
  plan.image_bytes = 100e3;
  plan.folder_gb = 0.01;
  const auto point = plan_translate(plan, 256);
  EXPECT_NEAR(point.seconds, 20000 * 100e3 / 1e7, 0.2);
  EXPECT_STREQ(point.largest_loss().name, "folder");
}

TEST(PlanTranslate, MoreRanksTakeNoLongerAndAreNoMoreEfficient) {
  auto plan = some_translation();
  plan.job.start_seconds = 30;
  auto before = plan_translate(plan, 1);
  for (int64_t ranks = 2; ranks <= 1024; ranks *= 2) {
    const auto point = plan_translate(plan, ranks);
    EXPECT_LE(point.seconds, before.seconds * (1 + 1e-12)) << ranks;
    EXPECT_LE(point.efficiency, before.efficiency * (1 + 1e-12)) << ranks;
    before = point;
  }
}

TEST(PlanTranslate, SmallerUnitsAtTheEndShortenTheTail) {
  auto plan = some_translation();
  const double tapered = plan_translate(plan, 48).seconds;
  plan.taper = 0;
  EXPECT_LT(tapered, plan_translate(plan, 48).seconds);
}

TEST(PlanTrain, AgreesWithASimulationOfEveryBucket) {
  auto plan = some_training();
  for (const double overlap : {0.0, 0.5, 1.0})
    for (const double bandwidth : {1.0, 10.0, 100.0})
      for (const char* how : {"halving", "binomial"})
        for (const int64_t ranks : {2, 3, 16, 256, 1024}) {
          plan.overlap = overlap, plan.bandwidth_gb = bandwidth, plan.all_reduce = how;
          const double simulated = simulated_step(plan, ranks), planned = train_step_seconds(plan, ranks);
          EXPECT_NEAR(planned, simulated, 1e-6 * simulated) << ranks << " ranks, overlap " << overlap << ", " << bandwidth << " GB/s, " << how;
        }
}

TEST(PlanTrain, OneRankTalksToNobody) {
  auto plan = some_training();
  plan.latency_us = 1e9;
  EXPECT_NEAR(plan_train(plan, 1).seconds, 5000 * (1.024 + 0.01), 1e-6);
}

TEST(PlanTrain, WithoutCommunicationOnlyTheFixedPartLimits) {
  auto plan = some_training();
  plan.latency_us = 0;
  plan.bandwidth_gb = 0;
  for (const int64_t ranks : {2, 64, 1024}) EXPECT_NEAR(plan_train(plan, ranks).seconds, 5000 * (1.024 / number(ranks) + 0.01), 1e-6);
  plan.step_seconds = 0;
  EXPECT_NEAR(plan_train(plan, 512).efficiency, 1, 1e-9);
}

TEST(PlanTrain, FasterLinksAndMoreOverlapNeverTakeLonger) {
  auto plan = some_training();
  double before = std::numeric_limits<double>::infinity();
  for (const double bandwidth : {0.1, 1.0, 10.0, 100.0}) {
    plan.bandwidth_gb = bandwidth;
    EXPECT_LE(plan_train(plan, 64).seconds, before);
    before = plan_train(plan, 64).seconds;
  }
  plan.bandwidth_gb = 1;
  before = std::numeric_limits<double>::infinity();
  for (const double overlap : {0.0, 0.3, 0.6, 1.0}) {
    plan.overlap = overlap;
    EXPECT_LE(plan_train(plan, 16).seconds, before);
    before = plan_train(plan, 16).seconds;
  }
}

TEST(PlanTrain, ANodesOwnLinksCountWhereAllRanksAreOnIt) {
  auto plan = some_training();
  plan.job.ranks_per_node = 8;
  const double outside = train_step_seconds(plan, 16), inside = train_step_seconds(plan, 8);
  plan.local_bandwidth_gb = 200, plan.local_latency_us = 2;
  EXPECT_EQ(train_step_seconds(plan, 16), outside);
  EXPECT_LT(train_step_seconds(plan, 8), inside);
}

TEST(PlanFailures, TheMeanIsThatOfManySimulatedJobs) {
  struct Case {
    int64_t segments;
    double segment, rate, start, requeue;
  };
  for (const auto& c : {Case{100, 60, 1e-4, 30, 60}, Case{50, 300, 1e-3, 120, 600}, Case{1, 1000, 1e-3, 0, 0}, Case{1000, 5, 3e-3, 40, 20}}) {
    const auto expected = with_failures(number(c.segments) * c.segment, c.segment, c.rate, c.start, c.requeue);
    const double simulated = simulated_failures(c.segments, c.segment, c.rate, c.start, c.requeue);
    EXPECT_NEAR(expected.seconds, simulated, 0.04 * simulated) << c.segment;
    EXPECT_NEAR(expected.held, expected.seconds - c.requeue * expected.failures, 1e-6 * expected.seconds);
    EXPECT_NEAR(expected.failures, c.rate * expected.held, 1e-6 * expected.failures + 1e-12) << "failures come at their rate while ranks are held";
  }
}

TEST(PlanFailures, NoneMeansStartAndWorkAlone) {
  const auto none = with_failures(1000, 10, 0, 20, 60);
  EXPECT_EQ(none.seconds, 1020);
  EXPECT_EQ(none.failures, 0);
  EXPECT_NEAR(with_failures(1000, 10, 1e-12, 20, 60).seconds, 1020, 1e-6);
}

TEST(PlanFailures, ATinyFractionLosesHalfASegmentAStartAndTheWait) {
  const double rate = 1e-7;
  EXPECT_NEAR(with_failures(1000, 100, rate, 20, 60).seconds, 1020 + 1020 * rate * 60 + 1000 * rate * (50 + 20) + 20 * rate * 10, 1e-6);
}

TEST(PlanFailures, TooManyNeverEnd) {
  auto plan = some_training();
  plan.job.mtbf_hours = 1e-3;
  plan.job.start_seconds = 3600;
  EXPECT_TRUE(std::isinf(plan_train(plan, 1024).seconds));
  EXPECT_EQ(plan_train(plan, 1024).efficiency, 0);
}

TEST(PlanFailures, NodesFailNotRanks) {
  auto plan = some_training();
  plan.job.mtbf_hours = 100;
  plan.checkpoint_every = 100;
  const double alone = plan_train(plan, 16).failures;
  plan.job.ranks_per_node = 8;
  EXPECT_NEAR(plan_train(plan, 16).failures, alone / 8, 0.05 * alone / 8);
}

TEST(PlanCheckpoints, TheBestIntervalIsTheModelsOwnMinimum) {
  const double mtbf = 4 * 3600, cost = 20, work = 1e5;
  const auto time = [&](double interval) { return with_failures(work * (1 + cost / interval), interval + cost, 1 / mtbf, 0, 0).seconds; };
  const double best = best_checkpoint_interval(cost, mtbf);
  EXPECT_NEAR(best, std::sqrt(2 * cost * mtbf), 0.05 * best) << "Young's is its first term";
  EXPECT_LT(time(best), time(0.8 * best));
  EXPECT_LT(time(best), time(1.25 * best));
}

TEST(PlanParts, AddUpToTheTime) {
  auto translation = some_translation();
  auto training = some_training();
  for (auto* job : {&translation.job, &training.job}) job->mtbf_hours = 50, job->start_seconds = 40;
  training.checkpoint_every = 200, training.checkpoint_seconds = 3;
  for (const int64_t ranks : {1, 2, 48, 1024})
    for (const auto& point : {plan_translate(translation, ranks), plan_train(training, ranks)}) {
      double sum = 0;
      for (const auto& part : point.parts) {
        EXPECT_GE(part.seconds, 0) << part.name;
        sum += part.seconds;
      }
      EXPECT_NEAR(sum, point.seconds, 1e-9 * point.seconds);
      EXPECT_NEAR(point.efficiency, point.parts.front().seconds / point.held, 1e-12);
    }
}

TEST(PlanNodes, AFullOneComputesLongerBySlowdownAndOneRankDoesNot) {
  auto translation = some_translation();
  auto training = some_training();
  training.latency_us = training.bandwidth_gb = 0;
  translation.seal_seconds = 0;
  const double alone = plan_translate(translation, 1).seconds, lone_step = train_step_seconds(training, 1), crowded_step = train_step_seconds(training, 8);
  for (auto* job : {&translation.job, &training.job}) job->ranks_per_node = 4, job->slowdown = 1.3;
  EXPECT_EQ(plan_translate(translation, 1).seconds, alone);
  EXPECT_EQ(train_step_seconds(training, 1), lone_step);
  EXPECT_NEAR(train_step_seconds(training, 8), 1.3 * crowded_step, 1e-9);
  EXPECT_NEAR(plan_translate(translation, 4).seconds, 1.3 * alone / 4, 0.02 * alone);
  EXPECT_NEAR(plan_translate(translation, 4).efficiency, 1 / 1.3, 0.02);
}

TEST(PlanCalibrate, ATranslationGivesBackWhatMadeIt) {
  auto truth = some_translation();
  truth.seconds_per_image = 0.031;
  truth.direction_seconds = 4;
  truth.directions = 1;
  truth.job.ranks_per_node = 2;
  truth.job.slowdown = 1.2;
  std::vector<MeasuredTranslation> measured;
  for (const int64_t ranks : {1, 2})
    measured.push_back({.images = truth.images,
                        .ranks = ranks,
                        .seconds = plan_translate(truth, ranks).seconds,
                        .compute_seconds = number(truth.images) * truth.seconds_per_image * (ranks == 2 ? 1.2 : 1)});
  auto plan = some_translation();
  plan.directions = 1;
  plan.job = truth.job;
  calibrate(plan, measured);
  EXPECT_NEAR(plan.seconds_per_image, 0.031, 1e-12);
  EXPECT_NEAR(plan.direction_seconds, 4, 1e-6);
}

TEST(PlanCalibrate, ATrainingGivesBackWhatMadeIt) {
  auto truth = some_training();
  truth.job.ranks_per_node = 4;
  truth.job.slowdown = 1.5;
  const auto measure = [&](int64_t ranks) {
    return MeasuredTraining{.steps = 100, .ranks = ranks, .images_per_step = truth.images_per_step, .seconds = 100 * train_step_seconds(truth, ranks)};
  };
  auto plan = truth;
  plan.seconds_per_image = 0;
  calibrate(plan, std::vector{measure(4)});
  EXPECT_NEAR(plan.seconds_per_image, truth.seconds_per_image, 1e-9) << "one measurement: the fixed part is as given";
  plan.step_seconds = plan.seconds_per_image = 0;
  calibrate(plan, std::vector{measure(1), measure(2), measure(8)});
  EXPECT_NEAR(plan.seconds_per_image, truth.seconds_per_image, 1e-8);
  EXPECT_NEAR(plan.step_seconds, truth.step_seconds, 1e-5);
}

TEST(PlanCalibrate, DifferentNumbersOfRanksTellTheSlowdown) {
  std::vector<MeasuredTranslation> translated;
  for (const auto& [ranks, factor] : {std::pair<int64_t, double>{1, 1.0}, {2, 1.1}, {4, 1.3}})
    translated.push_back({.images = 1000, .ranks = ranks, .seconds = 100, .compute_seconds = 50 * factor});
  PlannedJob job{.ranks_per_node = 4};
  fit_slowdown(job, translated);
  EXPECT_NEAR(job.slowdown, 1.3, 1e-9);

  auto truth = some_training();
  truth.job.ranks_per_node = 4, truth.job.slowdown = 1.42;
  std::vector<MeasuredTraining> trained;
  for (const auto& [ranks, images] : {std::pair<int64_t, int64_t>{1, 64}, {1, 128}, {4, 64}}) {
    truth.images_per_step = images;
    trained.push_back({.steps = 10, .ranks = ranks, .images_per_step = images, .seconds = 10 * train_step_seconds(truth, ranks)});
  }
  auto plan = truth;
  plan.job.slowdown = 1, plan.step_seconds = 0;
  calibrate_with_slowdown(plan, trained);
  EXPECT_NEAR(plan.job.slowdown, 1.42, 1e-9);
  EXPECT_NEAR(plan.step_seconds, truth.step_seconds, 1e-6);
}

TEST(PlanLink, IsWhatTheMeasuredTimesCameFrom) {
  TrainPlan plan;
  for (const char* how : {"halving", "binomial"})
    for (const int64_t ranks : {2, 5, 64}) {
      plan.all_reduce = how, plan.latency_us = 7, plan.bandwidth_gb = 3;
      const auto link = link_of(how, ranks, all_reduce_seconds(plan, ranks, 0), all_reduce_seconds(plan, ranks, 25e6), 25e6);
      EXPECT_NEAR(link.latency_us, 7, 1e-9);
      EXPECT_NEAR(link.bandwidth_gb, 3, 1e-9);
    }
}

}  // namespace
}  // namespace syncdr::plan
