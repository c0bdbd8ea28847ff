#include "selection.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>
#include <limits>

#include "syncdr/core/error.h"

namespace syncdr::retrieval {
namespace {

Validation found(double labels, double mutual, double uniformity = -1) {
  Validation validation(labels);
  validation.mutual = mutual;
  validation.uniformity = uniformity;
  return validation;
}

// Weights that tell their epoch.
bool offer(Selection& selection, int64_t epoch, const Validation& validation) {
  return selection.offer(epoch, validation, [&] { return io::NamedTensors{{"epoch", at::full({1}, epoch)}}; });
}

int64_t epoch_of(const io::NamedTensors& weights) { return weights.at("epoch").item<int64_t>(); }

constexpr double unknown = Validation::unknown;

TEST(Selection, KeepsTheBestByLabelsAndBesideItTheBestWithout) {
  Selection selection("labels");
  EXPECT_EQ(selection.epoch(), 0);
  EXPECT_TRUE(offer(selection, 1, found(0.3, 0.2)));
  EXPECT_FALSE(offer(selection, 2, found(0.3, 0.1))) << "an equal score of a later epoch is no better";
  EXPECT_TRUE(offer(selection, 3, found(0.5, 0.2)));
  EXPECT_FALSE(offer(selection, 4, found(0.4, 0.6)));
  EXPECT_EQ(selection.epoch(), 3);
  EXPECT_DOUBLE_EQ(selection.score(), 0.5);
  const auto files = selection.files();
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].first, "encoder.safetensors");
  EXPECT_EQ(epoch_of(files[0].second), 3);
  EXPECT_EQ(files[1].first, "encoder-unlabelled.safetensors");
  EXPECT_EQ(epoch_of(files[1].second), 4);
  EXPECT_EQ(
      boost::json::serialize(selection.record()),
      R"({"best_score":5E-1,"best_epoch":3,"selected_by":"labels","other_score":6E-1,"other_epoch":4,"other_by":"mutual","other_file":"encoder-unlabelled.safetensors"})");
}

TEST(Selection, ToldApartAreValidationsNotEpochs) {
  Selection selection("labels");
  EXPECT_TRUE(offer(selection, 1, found(0.3, 0.2)));
  EXPECT_FALSE(offer(selection, 1, found(0.2, 0.4))) << "better without labels alone";
  ASSERT_EQ(selection.files().size(), 2u);
  EXPECT_FALSE(selection.files()[0].second.at("epoch").is_same(selection.files()[1].second.at("epoch")));
}

TEST(Selection, ChoosesWithoutLabelsWhereItIsTold) {
  Selection selection("uniformity");
  offer(selection, 1, found(0.5, 0.2, -1));
  EXPECT_TRUE(offer(selection, 2, found(0.4, 0.1, -2)));
  EXPECT_EQ(selection.epoch(), 2);
  EXPECT_DOUBLE_EQ(selection.score(), 2) << "higher is better";
  EXPECT_EQ(selection.by(), "uniformity");
  ASSERT_EQ(selection.files().size(), 2u);
  EXPECT_EQ(selection.files()[1].first, "encoder-labels.safetensors");
  EXPECT_EQ(epoch_of(selection.files()[1].second), 1);
}

TEST(Selection, FallsBackWhereThereAreNoLabels) {
  Selection selection("labels");
  EXPECT_TRUE(offer(selection, 1, found(unknown, 0.2)));
  EXPECT_TRUE(offer(selection, 2, found(unknown, 0.3)));
  EXPECT_EQ(selection.epoch(), 2);
  EXPECT_EQ(selection.by(), "mutual");
  EXPECT_EQ(selection.files().size(), 1u);
  EXPECT_FALSE(selection.record().contains("other_by"));
}

TEST(Selection, OneEpochThatIsBestByBothIsOneFile) {
  Selection selection("labels");
  offer(selection, 1, found(0.5, 0.2));
  EXPECT_EQ(selection.files().size(), 1u);
}

TEST(Selection, WithoutValidationTheLastIsKept) {
  Selection selection("labels");
  for (const int64_t epoch : {1, 2}) selection.keep(epoch, {{"epoch", at::full({1}, epoch)}});
  EXPECT_EQ(selection.epoch(), 2);
  EXPECT_EQ(epoch_of(selection.files()[0].second), 2);
  EXPECT_EQ(selection.by(), "last");
}

TEST(Selection, GoesOnFromACheckpointWhereItStood) {
  for (const double later : {0.1, 0.6}) {  // the same epoch best by both, and two
    Selection selection("labels");
    offer(selection, 1, found(0.5, 0.2));
    offer(selection, 2, found(0.4, later));
    training::Checkpoint checkpoint;
    selection.put(checkpoint);
    Selection resumed("labels");
    resumed.take(checkpoint, "here");
    EXPECT_EQ(boost::json::serialize(resumed.record()), boost::json::serialize(selection.record()));
    ASSERT_EQ(resumed.files().size(), selection.files().size());
    for (size_t i = 0; i < resumed.files().size(); ++i) EXPECT_EQ(epoch_of(resumed.files()[i].second), epoch_of(selection.files()[i].second));
    EXPECT_FALSE(offer(resumed, 3, found(0.45, 0.1)));
  }
  EXPECT_THROW(Selection("labels").take({}, "here"), core::DataError);
}

TEST(Selection, LogsWhatIsKnown) {
  const auto values = Selection::figures(found(unknown, 0.25));
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values[0].first, "val_mutual");
  EXPECT_EQ(values[1].first, "val_uniformity");
}

}  // namespace
}  // namespace syncdr::retrieval
