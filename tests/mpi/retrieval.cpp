// after: mpi.retrieval.1
// With one rank it writes the losses and the checkpoint that the runs with more ranks compare with, beside the program.
#include <gmock/gmock.h>
#include <signal.h>

#include <cmath>

#include "../unit/retrieval/tiny_dataset.h"
#include "mpi_test.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"
#include "syncdr/retrieval/trainer.h"
#include "syncdr/training/checkpoint.h"
#include "syncdr/training/metric_log.h"

namespace syncdr::retrieval {
namespace {

namespace fs = std::filesystem;
using test::world;
using Curve = std::vector<std::pair<int64_t, double>>;

const char* const figures[] = {"loss", "loss_id", "loss_cdm", "loss_ppp"};

/// 4 epochs of 5 steps: 73 and 75 entries in batches of 14.
TrainConfig config_of_test() {
  return {.encoder = {.name = "small", .dim = 32, .feature_norm = true},
          .optimizer = {.learning_rate = 0.02},
          .augment = {.resize = 36, .crop = 32, .rotation = 10},
          .epochs = 4,
          .batch = 14,
          .matching_weight = 0.1,
          .matching_top = 20,
          .pair_temperature = 0.1};
}

fs::path beside_program(const std::string& name) { return fs::read_symlink("/proc/self/exe").parent_path() / "mpi_retrieval_reference" / name; }

/// Scores by epoch, so that the third is best; the encoder given is in evaluation mode.
struct Scores {
  std::vector<double> values = {0.25, 0.5, 0.75, 0.5};
  int64_t fail_in_epoch = 0;  ///< counts from 1; 0: never
  size_t calls = 0;
  double operator()(Encoder& encoder) {
    EXPECT_FALSE(encoder->is_training());
    ++calls;
    if (static_cast<int64_t>(calls) == fail_in_epoch) throw core::PeerError("the machine is lost");
    return world().is_root() ? values.at(calls - 1) : -1;  // the value of rank 0 counts
  }
};

class Training : public testing::Test {
 protected:
  void SetUp() override {
    std::string name;
    world().root_only("a folder", [&] {
      std::string pattern = testing::TempDir() + "syncdr-XXXXXX";
      name = mkdtemp(pattern.data());
      test::TinyDataset{.first = 30, .second = 50}.write(fs::path(name) / "data");
    });
    folder_ = world().broadcast(name, 0, "the folder's name");
    dataset_ = std::make_unique<data::Dataset>(folder_ / "data");
  }
  void TearDown() override {
    world().barrier("end of a test");
    if (world().is_root()) fs::remove_all(folder_);
  }

  TrainResult run(const TrainConfig& config, const Validate& validate, const std::string& out, const std::string& translation = "swap", uint64_t seed = 11) {
    return train(world(), *dataset_, "warm", "cold", translation, config, seed, validate, folder_ / out);
  }
  Curve curve(const std::string& out, const std::string& figure) const { return training::read_metric(folder_ / out / "log.jsonl", figure); }
  std::string weights(const std::string& out) const { return nn::state_hash(*load_encoder(folder_ / out / "encoder.safetensors")); }
  void copy(const fs::path& from, const fs::path& to) {
    world().root_only("copying", [&] {
      fs::remove_all(to);
      fs::create_directories(to.parent_path());
      fs::copy(from, to, fs::copy_options::recursive);
    });
  }

  fs::path folder_;
  std::unique_ptr<data::Dataset> dataset_;
};

/// Equal steps, and values that differ by float rounding alone.
void expect_same(const Curve& ours, const Curve& theirs, double tolerance, const std::string& what) {
  ASSERT_EQ(ours.size(), theirs.size()) << what;
  for (size_t k = 0; k < ours.size(); ++k) {
    EXPECT_EQ(ours[k].first, theirs[k].first) << what;
    EXPECT_NEAR(ours[k].second, theirs[k].second, tolerance * std::max(1.0, std::abs(theirs[k].second))) << what << ", step " << ours[k].first;
  }
}

// Twenty steps amplify rounding: at this rate differences of 1e-7 in the first step reach 1e-6 in the last.
constexpr double rounding = 1e-5;

TEST_F(Training, LossesOfAnyNumberOfRanksAreThoseOfOne) {
  const TrainResult result = run(config_of_test(), Scores{}, "run");
  EXPECT_EQ(result.steps, 20);
  EXPECT_EQ(result.best_epoch, 3);
  EXPECT_EQ(result.best_score, 0.75);
  if (world().size() == 1) copy(folder_ / "run" / "log.jsonl", beside_program("log.jsonl"));
  ASSERT_TRUE(fs::exists(beside_program("log.jsonl"))) << "run this program with one rank first";
  if (!world().is_root()) return;
  for (const char* figure : figures) {
    ASSERT_EQ(curve("run", figure).size(), 20u);
    expect_same(curve("run", figure), training::read_metric(beside_program("log.jsonl"), figure), rounding, figure);
  }
  EXPECT_LT(curve("run", "loss").back().second, 0.9 * curve("run", "loss").front().second) << "training does not learn";
  expect_same(curve("run", "val_score"), {{4, 0.25}, {9, 0.5}, {14, 0.75}, {19, 0.5}}, 0, "validation");
}

TEST_F(Training, GoesOnAfterALossExactlyAndOnAnotherNumberOfRanks) {
  Scores failing{.fail_in_epoch = 3};
  EXPECT_THROW(run(config_of_test(), std::ref(failing), "run"), core::PeerError);
  world().barrier("all have failed");
  // The second epoch's checkpoint: what this number of ranks leaves, and what one rank left.
  const std::string mine = fmt::format("checkpoints-{}", world().size());
  copy(folder_ / "run" / "checkpoints", beside_program(mine));
  for (const std::string& from : {mine, std::string("checkpoints-1")}) {
    SCOPED_TRACE(from);
    copy(beside_program(from), folder_ / from / "checkpoints");
    copy(folder_ / "run" / "log.jsonl", folder_ / from / "log.jsonl");
    Scores rest{.values = {0.25, 0.5}};  // of epochs 3 and 4: the best is epoch 2, or 4 if its score were forgotten
    const TrainResult result = run(config_of_test(), std::ref(rest), from);
    EXPECT_EQ(rest.calls, 2u);
    EXPECT_EQ(result.best_score, 0.5);
    EXPECT_EQ(result.best_epoch, 2);
    if (!world().is_root()) continue;
    for (const char* figure : figures) {
      expect_same(curve(from, figure), training::read_metric(beside_program("log.jsonl"), figure), rounding, figure);
    }
  }
}

TEST_F(Training, OnOneRankResumesToTheSameBits) {
  if (world().size() > 1) return;  // sums over ranks have a fixed order, but reductions of other sizes round differently
  run(config_of_test(), Scores{}, "whole");
  Scores failing{.fail_in_epoch = 3};
  EXPECT_THROW(run(config_of_test(), std::ref(failing), "broken"), core::PeerError);
  run(config_of_test(), Scores{.values = {0.75, 0.5}}, "broken");
  EXPECT_EQ(weights("broken"), weights("whole"));
  EXPECT_EQ(curve("broken", "loss"), curve("whole", "loss"));
}

TEST_F(Training, TheSameSeedGivesTheSameRunAndAnotherSeedAnother) {
  TrainConfig config = config_of_test();
  config.epochs = 1;
  run(config, {}, "first");
  config.loader_threads = 0;  // only speed depends on it
  run(config, {}, "again");
  run(config, {}, "other", "swap", 12);
  EXPECT_EQ(weights("first"), weights("again"));
  EXPECT_NE(weights("first"), weights("other"));
}

TEST_F(Training, WithoutATranslationThereAreNoPairs) {
  TrainConfig config = config_of_test();
  config.epochs = 2;
  config.matching_start = 0.5;
  const TrainResult result = run(config, {}, "cds", "");
  EXPECT_EQ(result.best_epoch, 2);  // without validation the last one
  if (!world().is_root()) return;
  for (const auto& [step, loss] : curve("cds", "loss_ppp")) EXPECT_EQ(loss, 0) << step;
  const Curve matching = curve("cds", "loss_cdm");
  ASSERT_EQ(static_cast<int64_t>(matching.size()), result.steps);
  for (const auto& [step, loss] : matching) EXPECT_EQ(loss != 0, step >= result.steps / 2) << step;
}

TEST_F(Training, AFinishedRunIsNotRepeatedAndOtherSettingsAreRefused) {
  TrainConfig config = config_of_test();
  config.epochs = 1;
  Scores scores;
  const TrainResult first = run(config, std::ref(scores), "run");
  const TrainResult again = run(config, std::ref(scores), "run");
  EXPECT_EQ(scores.calls, 1u);
  EXPECT_EQ(again.best_score, first.best_score);
  EXPECT_EQ(again.steps, first.steps);
  config.temperature = 0.2;
  try {
    run(config, std::ref(scores), "run");
    FAIL() << "other settings were accepted";
  } catch (const core::UsageError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("temperature = 0.1, now temperature = 0.2"));
    EXPECT_THAT(error.what(), testing::HasSubstr((folder_ / "run").string()));
  }
}

TEST_F(Training, ACheckpointOfOtherSettingsIsRefused) {
  TrainConfig config = config_of_test();
  Scores failing{.fail_in_epoch = 2};
  EXPECT_THROW(run(config, std::ref(failing), "run"), core::PeerError);
  world().barrier("all have failed");
  config.batch = 10;
  EXPECT_THROW(run(config, Scores{}, "run"), core::UsageError);
}

TEST_F(Training, ALossThatIsNotANumberEndsTheRunWithItsStep) {
  TrainConfig config = config_of_test();
  config.optimizer.learning_rate = 1e30;
  try {
    run(config, Scores{}, "run");
    FAIL() << "trained at a rate of 1e30";
  } catch (const core::DataError& error) {
    EXPECT_THAT(error.what(), testing::ContainsRegex("step [0-9]+: the loss is"));
    EXPECT_THAT(error.what(), testing::HasSubstr("learning_rate"));
  }
  EXPECT_FALSE(fs::exists(folder_ / "run" / "done.json"));
}

TEST_F(Training, LearnsInBfloat16) {
  TrainConfig config = config_of_test();
  config.precision = "bf16";
  run(config, {}, "run");
  if (!world().is_root()) return;
  const Curve loss = curve("run", "loss");
  EXPECT_LT(loss.back().second, 0.9 * loss.front().second);
  EXPECT_NEAR(loss.front().second, training::read_metric(beside_program("log.jsonl"), "loss").front().second, 0.2);
}

// The last test of this file: the flag of a stop signal stays.
TEST_F(Training, ASignalToOneRankStopsAllWithTheirStateSaved) {
  core::watch_stop_signals("USR2");
  const Validate signalled = [](Encoder&) {
    if (world().rank() == world().size() - 1) raise(SIGUSR2);
    return 0.5;
  };
  EXPECT_THROW(run(config_of_test(), signalled, "run"), core::StopRequested);
  const auto checkpoint = training::CheckpointFolder(folder_ / "run" / "checkpoints").latest();
  ASSERT_TRUE(checkpoint.has_value());
  EXPECT_EQ(checkpoint->step, 10);  // the signal came after the fifth step, ranks agree at the end of the next epoch
  EXPECT_EQ(io::json_double(checkpoint->state, "best_score", "state"), 0.5);
}

}  // namespace
}  // namespace syncdr::retrieval
