#include "syncdr/training/metric_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"

using namespace syncdr;
using testing::ElementsAre;
using testing::Pair;
using training::MetricLog;
using training::read_metric;

TEST(MetricLog, WritesOneObjectALine) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "run" / "log.jsonl";
  MetricLog log(file, 0);
  log.append(0, {{"loss", 3.1}, {"rate", 1e-5}});
  log.append(10, {{"loss", 2}, {"odd \"name\"", -0.5}});
  EXPECT_EQ(io::read_file(file), "{\"step\": 0, \"loss\": 3.1, \"rate\": 1e-05}\n{\"step\": 10, \"loss\": 2, \"odd \\\"name\\\"\": -0.5}\n");
}

TEST(MetricLog, ValuesReadBackToTheSameBits) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  MetricLog log(file, 0);
  const std::vector<double> values{0.1 + 0.2, 1e300, 5e-324, -0.0, 1.0 / 3, 123456789.0};
  for (size_t k = 0; k < values.size(); ++k) log.append(static_cast<int64_t>(k), {{"x", values[k]}});
  const auto curve = read_metric(file, "x");
  ASSERT_EQ(curve.size(), values.size());
  for (size_t k = 0; k < values.size(); ++k) EXPECT_EQ(curve[k].second, values[k]);
}

TEST(MetricLog, WhatIsNotFiniteIsNullAndPassedOver) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  MetricLog log(file, 0);
  log.append(1, {{"loss", std::numeric_limits<double>::quiet_NaN()}, {"score", 0.5}});
  log.append(2, {{"loss", std::numeric_limits<double>::infinity()}});
  log.append(3, {{"loss", 4}});
  EXPECT_THAT(io::read_file(file), testing::StartsWith("{\"step\": 1, \"loss\": null, \"score\": 0.5}\n"));
  EXPECT_THAT(read_metric(file, "loss"), ElementsAre(Pair(3, 4)));
  EXPECT_THAT(read_metric(file, "score"), ElementsAre(Pair(1, 0.5)));
  EXPECT_THAT(read_metric(file, "absent"), testing::IsEmpty());
}

TEST(MetricLog, ResumeDropsTheStepsToBeRepeated) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  for (MetricLog log(file, 0); const int64_t step : {0, 5, 10, 15}) log.append(step, {{"loss", static_cast<double>(step)}});
  MetricLog(file, 10).append(10, {{"loss", -1}});
  EXPECT_THAT(read_metric(file, "loss"), ElementsAre(Pair(0, 0), Pair(5, 5), Pair(10, -1)));
}

TEST(MetricLog, BeginningAnewEmptiesTheFile) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  MetricLog(file, 0).append(0, {{"loss", 1}});
  MetricLog(file, 0);
  EXPECT_EQ(io::read_file(file), "");
}

TEST(MetricLog, AnUnfinishedLastLineIsPassedOverAndDroppedOnResume) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  MetricLog(file, 0).append(0, {{"loss", 1}});
  const std::string whole = io::read_file(file);
  const std::string second = "{\"step\": 1, \"loss\": 2}";  // also cut just before its end of line
  for (size_t length = 1; length <= second.size(); ++length) {
    io::write_file(file, whole + second.substr(0, length));
    EXPECT_THAT(read_metric(file, "loss"), ElementsAre(Pair(0, 1))) << length;
    MetricLog(file, 2).append(2, {{"loss", 3}});
    EXPECT_THAT(read_metric(file, "loss"), ElementsAre(Pair(0, 1), Pair(2, 3))) << length;
  }
}

TEST(MetricLog, ABrokenLineIsAnErrorToReadersAndDroppedOnResume) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "log.jsonl";
  io::write_file(file, std::string("{\"step\": 0, \"loss\": 1}\n\0\0\0\n{\"step\": 2, \"loss\": 3}\n", 51));
  try {
    read_metric(file, "loss");
    ADD_FAILURE() << "zeros were read as a line";
  } catch (const core::DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("log.jsonl: line 2"));
  }
  MetricLog(file, 5);
  EXPECT_THAT(read_metric(file, "loss"), ElementsAre(Pair(0, 1), Pair(2, 3)));
}

TEST(MetricLog, AMissingFileAndOneNameTwiceAreErrors) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_metric(folder.path() / "none.jsonl", "loss"), core::DataError);
  MetricLog log(folder.path() / "log.jsonl", 0);
  EXPECT_THROW(log.append(0, {{"loss", 1}, {"loss", 2}}), core::BugError);
  EXPECT_THROW(log.append(0, {{"step", 1}}), core::BugError);
}
