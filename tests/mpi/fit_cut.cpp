// after: mpi.fit_cut.1
// rooms: fit
// With one rank it writes the losses and the checkpoint that the runs with more ranks compare with, beside the program.
#include <gmock/gmock.h>
#include <signal.h>

#include "syncdr/core/stop.h"
#include "syncdr/fit/cut.h"
#include "syncdr/gan/generator_file.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/checkpoint.h"
#include "syncdr/training/metric_log.h"
#include "tiny_dataset_test.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;
using test::world;
using testing::AllOf;
using testing::HasSubstr;
using training::Curve;

const char* const figures[] = {"loss_discriminator", "loss_gan", "loss_nce"};

/// 6 steps of 4 images, 9 and 13 images per domain: the third step begins the second epoch of the first.
CutConfig config_of_test() {
  return {.steps = 6,
          .batch = 4,
          .generator = {.width = 4, .blocks = 2, .nce_layers = {0, 4, 8, 12}},
          .discriminator = {.width = 4, .layers = 2},
          .learning_rate = 1e-4,  // Adam turns gradients that are rounding alone into whole steps
          .discriminator_learning_rate = 1e-4,
          .patches = 16,
          .ema = 0.9,
          .augment = {.resize = 36, .crop = 32},
          .log_every = 1,
          .sample_every = 4,
          .checkpoint_every = 3};
}

fs::path beside_program(const std::string& name) { return test::beside_program("mpi_fit_cut", name); }

/// Equal within rounding: 1e-5 for three steps. Then PatchNCE has learned rows from the features of flat backgrounds, which are near zero before they
/// are made unit rows, and amplifies rounding, now more, now less (measured: up to 1.6e-4).
void expect_same(const Curve& ours, const Curve& theirs, const std::string& what) {
  ASSERT_EQ(ours.size(), theirs.size()) << what;
  for (size_t k = 0; k < ours.size(); ++k) {
    EXPECT_EQ(ours[k].first, theirs[k].first) << what;
    const double tolerance = what == "loss_nce" && ours[k].first > 3 ? 5e-4 : 1e-5;
    EXPECT_NEAR(ours[k].second, theirs[k].second, tolerance * std::max(1.0, std::abs(theirs[k].second))) << what << ", step " << ours[k].first;
  }
}

class FitCut : public test::TinyDatasetTest {
 protected:
  FitCut() : TinyDatasetTest({.first = 9, .second = 13}) {}

  void fit(const std::string& out, const CutConfig& config = config_of_test(), uint64_t seed = 5) {
    fit_cut({world(), *dataset_, {"warm", "cold"}, seed, folder_ / out}, config);
    world().barrier("a fit is over");
  }
  std::string error_of(core::ExitCode code, const std::string& out, const CutConfig& config, uint64_t seed = 5) {
    return TinyDatasetTest::error_of(code, [&] { fit(out, config, seed); });
  }
  /// What a run killed right after this checkpoint leaves.
  void leave_only_checkpoint(const fs::path& run, const fs::path& checkpoint, const std::string& out) {
    world().root_only("copying", [&] {
      fs::create_directories(folder_ / out / "checkpoints");
      fs::copy(checkpoint, folder_ / out / "checkpoints" / "step-3", fs::copy_options::recursive);
      fs::copy(run / "log.jsonl", folder_ / out / "log.jsonl");
    });
  }
  std::string bytes(const std::string& out) const { return io::read_file(folder_ / out / "generator.safetensors"); }
  Curve curve(const std::string& out, const std::string& figure) const { return training::read_metric(folder_ / out / "log.jsonl", figure); }
};

TEST_F(FitCut, LossesOfAnyNumberOfRanksAreThoseOfOne) {
  fit("run");
  if (world().size() == 1) {
    fs::remove_all(beside_program(""));
    fs::create_directories(beside_program(""));
    fs::copy(folder_ / "run" / "log.jsonl", beside_program("log.jsonl"));
    fs::copy(folder_ / "run" / "checkpoints" / "step-3", beside_program("step-3"), fs::copy_options::recursive);
  }
  ASSERT_TRUE(fs::exists(beside_program("log.jsonl"))) << "run this program with one rank first";
  for (const char* figure : figures) {
    ASSERT_EQ(curve("run", figure).size(), 6u);
    expect_same(curve("run", figure), training::read_metric(beside_program("log.jsonl"), figure), figure);
  }
}

TEST_F(FitCut, LeavesAGeneratorSamplesAndFiguresOfEachStep) {
  CutConfig config = config_of_test();
  config.steps = 40;
  config.learning_rate = config.discriminator_learning_rate = 1e-3;
  fit("run", config);
  const gan::Generator generator = gan::load_generator(folder_ / "run" / "generator.safetensors");
  EXPECT_EQ(generator->config().width, 4);
  EXPECT_TRUE(fs::exists(folder_ / "run" / "samples" / "step-4.png"));
  const std::string sheet = io::read_file(folder_ / "run" / "samples" / "step-40.png");
  const auto size = data::peek_size({reinterpret_cast<const uint8_t*>(sheet.data()), sheet.size()}, data::Codec::png);
  EXPECT_EQ(size.height, 3 * 32);  // nine images, four pairs a row
  EXPECT_EQ(size.width, 4 * 2 * 32);
  const Curve rate = curve("run", "learning_rate");
  EXPECT_DOUBLE_EQ(rate[19].second, 1e-3);
  EXPECT_LT(rate[39].second, 1e-4);
  EXPECT_GT(curve("run", "images_per_second").back().second, 0);
  // Both networks learn: patches are told apart better than by chance, log 16, and better than at first.
  const Curve nce = curve("run", "loss_nce");
  EXPECT_LT(nce.back().second, 0.9 * nce.front().second);
  EXPECT_LT(curve("run", "loss_discriminator").back().second, 0.9 * curve("run", "loss_discriminator").front().second);
}

TEST_F(FitCut, KilledAfterACheckpointItEndsWithTheSameGenerator) {
  fit("whole");
  leave_only_checkpoint(folder_ / "whole", folder_ / "whole" / "checkpoints" / "step-3", "resumed");
  fit("resumed");
  EXPECT_EQ(bytes("resumed"), bytes("whole"));
  for (const char* figure : figures) EXPECT_EQ(curve("resumed", figure), curve("whole", figure)) << figure;
}

TEST_F(FitCut, GoesOnFromACheckpointOfOneRank) {
  ASSERT_TRUE(fs::exists(beside_program("step-3"))) << "run this program with one rank first";
  leave_only_checkpoint(beside_program(""), beside_program("step-3"), "run");
  fit("run");
  for (const char* figure : figures) expect_same(curve("run", figure), training::read_metric(beside_program("log.jsonl"), figure), figure);
}

TEST_F(FitCut, TheSameSeedGivesTheSameGeneratorAndAnotherSeedAnother) {
  CutConfig config = config_of_test();
  config.steps = 2;
  fit("first", config);
  config.log_every = 7;  // how often a run reports changes nothing
  fit("again", config);
  fit("other", config, 6);
  EXPECT_EQ(bytes("first"), bytes("again"));
  EXPECT_NE(bytes("first"), bytes("other"));
}

TEST_F(FitCut, AFinishedFitIsNotRepeatedUnlessItsGeneratorIsDamaged) {
  fit("run");
  const std::string good = bytes("run");
  const auto log_written = fs::last_write_time(folder_ / "run" / "log.jsonl");
  fit("run");
  EXPECT_EQ(fs::last_write_time(folder_ / "run" / "log.jsonl"), log_written);
  world().root_only("damage", [&] { io::write_file(folder_ / "run" / "generator.safetensors", good.substr(0, good.size() / 2)); });
  fit("run");
  EXPECT_EQ(bytes("run"), good);
}

TEST_F(FitCut, RefusesAFolderOfOtherSettingsFinishedOrNot) {
  CutConfig other = config_of_test();
  other.temperature = 0.1;
  fit("run");
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", other), HasSubstr("done.json: was made with fit.cut.temperature = 0.07, now it is 0.1"));
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", config_of_test(), 6), HasSubstr("done.json: was made with seed = 5, now it is 6"));
  leave_only_checkpoint(folder_ / "run", folder_ / "run" / "checkpoints" / "step-3", "half");
  EXPECT_THAT(error_of(core::ExitCode::usage, "half", other), HasSubstr("step-3/state.json: was made with fit.cut.temperature = 0.07, now it is 0.1"));
  CutConfig longer = config_of_test();
  longer.steps = 12;
  for (const char* out : {"run", "half"})
    EXPECT_THAT(error_of(core::ExitCode::usage, out, longer),
                AllOf(HasSubstr("was made with fit.cut.steps = 6, now it is fit.cut.steps = 12. By fit.cut.schedule = \"linear\""),
                      HasSubstr("Set fit.cut.steps = 6, choose another folder, or remove " + (folder_ / out).string())));
}

TEST_F(FitCut, WorksWithEachPartSwitchedOff) {
  CutConfig config = config_of_test();
  config.steps = 2;
  config.ema = 0;
  config.identity_nce = false;
  fit("no identity", config);
  config.nce_weight = 0;
  fit("no nce", config);
  for (const auto& [step, loss] : curve("no nce", "loss_nce")) EXPECT_EQ(loss, 0) << step;
  for (const auto& [step, loss] : curve("no identity", "loss_nce")) EXPECT_GT(loss, 0) << step;
}

TEST_F(FitCut, InBfloat16LossesAreNearly) {
  CutConfig config = config_of_test();
  config.precision = "bf16";
  fit("run", config);
  const Curve exact = training::read_metric(beside_program("log.jsonl"), "loss_nce"), rounded = curve("run", "loss_nce");
  EXPECT_NEAR(rounded.front().second, exact.front().second, 0.05 * exact.front().second);
  EXPECT_NE(rounded.front().second, exact.front().second) << "it is not bfloat16";
}

TEST_F(FitCut, ALossThatIsNotFiniteEndsTheRunWithStepAndAdvice) {
  CutConfig config = config_of_test();
  config.discriminator_learning_rate = 1e30;
  const std::string message = error_of(core::ExitCode::bad_data, "run", config);
  EXPECT_THAT(message, testing::ContainsRegex("no longer finite at step [1-6] "));
  EXPECT_THAT(message, HasSubstr("fit.cut.discriminator_learning_rate (now 1e+30)"));
  EXPECT_FALSE(fs::exists(folder_ / "run" / "generator.safetensors"));
}

TEST_F(FitCut, RefusesABatchThatDoesNotFit) {
  CutConfig config = config_of_test();
  config.batch = 12;
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", config), HasSubstr("domain warm has 9 training images, fewer than a batch of 12"));
  if (world().size() == 1) return;
  config.batch = 1;
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", config), HasSubstr("is less than the"));
}

// The last test of this file: the flag of a stop signal stays.
TEST_F(FitCut, ASignalToOneRankStopsAllWithACheckpoint) {
  core::watch_stop_signals("USR2");
  if (world().rank() == world().size() - 1) raise(SIGUSR2);
  EXPECT_THAT(error_of(core::ExitCode::requeue, "run", config_of_test()), HasSubstr("after step 1 of 6, which is saved"));
  const auto checkpoint = training::Checkpoints(folder_ / "run" / "checkpoints").latest();
  ASSERT_TRUE(checkpoint.has_value());
  EXPECT_EQ(checkpoint->step, 1);
  EXPECT_FALSE(fs::exists(folder_ / "run" / "done.json"));
}

}  // namespace
}  // namespace syncdr::fit
