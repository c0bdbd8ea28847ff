#include "measured.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/json.h"

namespace syncdr::plan {
namespace {

Measured read(const std::string& command, const std::string& text, const std::string& of = "") {
  Measured measured;
  add_measured(measured, io::parse_json(text, "f.json"), command, of, "f.json");
  return measured;
}

const std::string direction = R"({"images": 570, "skipped": 0, "seconds": 8.5, "ranks": 2, "compute_seconds": 15.25})";
const std::string training_run = R"({"steps": 840, "seconds": 70, "ranks": 2, "images_per_step": 128, "parameters": 1200000, "best_score": 0.1})";

TEST(PlanMeasured, TakesBothDirectionsOfATranslation) {
  const auto found = read("translate", R"({"a-to-b": )" + direction + R"(, "b-to-a": )" + direction + "}").translations;
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].images, 570);
  EXPECT_EQ(found[0].ranks, 2);
  EXPECT_EQ(found[0].compute_seconds, 15.25);
  EXPECT_FALSE(found[0].variants);
}

TEST(PlanMeasured, TakesATrainingAndADoctorsLink) {
  const auto found = read("train", training_run);
  ASSERT_EQ(found.trainings.size(), 1u);
  EXPECT_EQ(found.trainings[0].parameters, 1200000);
  const auto link = read("train", R"([{"what": "job"}, {"what": "all-reduce", "figures": {"latency_us": 18.0, "bandwidth_gb": 3.9,
                                      "all_reduce": "binomial", "ranks": 2}}])")
                        .link;
  ASSERT_TRUE(link);
  EXPECT_EQ(link->latency_us, 18);
  EXPECT_EQ(link->all_reduce, "binomial");
  const auto sharing = read("train", R"([{"what": "speed", "figures": {"slowdown": 1.12, "ranks_per_node": 2}}])").sharing;
  ASSERT_TRUE(sharing);
  EXPECT_EQ(sharing->slowdown, 1.12);
}

TEST(PlanMeasured, SeveralTranslatorsMustBeChosenFrom) {
  const auto job =
      R"({"translate cut": {"a-to-b": )" + direction + R"(}, "translate filter": {"a-to-b": )" + direction + R"(}, "train cds": )" + training_run + "}";
  EXPECT_ERROR(read("translate", job), core::UsageError, "holds translate cut, translate filter. Choose one with --of");
  EXPECT_EQ(read("translate", job, "translate cut").translations.size(), 1u);
  EXPECT_EQ(read("train", job).trainings.size(), 1u);
  EXPECT_ERROR(read("translate", job, "translate ddib"), core::UsageError, "has no \"translate ddib\"");
}

TEST(PlanMeasured, WhatWasSealedBeforeMeasuresNothing) {
  EXPECT_TRUE(read("translate", R"({"a-to-b": {"images": 0, "seconds": 0.1, "ranks": 1, "compute_seconds": 0}})").translations.empty());
}

TEST(PlanMeasured, ImpossibleFiguresAreNamed) {
  EXPECT_ERROR(read("translate", R"({"x": {"images": 5, "seconds": 0, "ranks": 1, "compute_seconds": 1}})"), core::DataError, "f.json: x: \"seconds\" is 0");
  EXPECT_ERROR(read("translate", R"({"x": {"images": 5, "seconds": 1, "ranks": 0, "compute_seconds": 1}})"), core::DataError,
               "\"ranks\" is 0: it must be at least 1");
  EXPECT_ERROR(read("translate", R"({"x": {"images": "5", "seconds": 1, "ranks": 1, "compute_seconds": 1}})"), core::DataError, "\"images\" is not an integer");
  EXPECT_ERROR(read("translate", R"({"x": {"images": 5, "seconds": 1, "ranks": 1, "compute_seconds": 1, "batch": 0}})"), core::DataError, "\"batch\" is 0");
  EXPECT_ERROR(read("train", R"({"steps": 1, "seconds": 1, "ranks": 8, "images_per_step": 4, "parameters": 1})"), core::DataError,
               "4 images per step on 8 ranks");
}

}  // namespace
}  // namespace syncdr::plan
