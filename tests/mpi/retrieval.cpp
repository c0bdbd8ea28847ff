// after: mpi.retrieval.1
// rooms: retrieval
// With one rank it leaves the losses and the checkpoint that the cases with more ranks compare with.
#include <signal.h>

#include "retrieval_case.h"
#include "syncdr/core/stop.h"

namespace syncdr::retrieval {
namespace {

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
  EXPECT_LT(curve("run", "loss").back().second, curve("run", "loss").front().second - 0.4) << "training does not learn";
  expect_same(curve("run", "val_score"), {{5, 0.25}, {10, 0.5}, {15, 0.75}, {20, 0.5}}, 0, "validation");
}

TEST_F(Training, AShardedBankHasTheLossesOfAReplicatedOne) {
  TrainConfig config = config_of_test();
  config.bank.placement = "sharded";
  run(config, Scores{}, "run");
  if (!world().is_root()) return;
  for (const char* figure : figures) {
    expect_same(curve("run", figure), training::read_metric(beside_program("log.jsonl"), figure), rounding, figure);
  }
  EXPECT_EQ(curve("run", "bank_checksum").size(), 4u);
}

TEST_F(Training, ABankOfHalfTheMemoryStaysNearAWholeOne) {
  TrainConfig config = config_of_test();
  config.bank = {.placement = "sharded", .precision = "bf16"};
  config.epochs = 1;
  run(config, {}, "run");
  if (!world().is_root()) return;
  const double ours = curve("run", "loss").front().second, theirs = training::read_metric(beside_program("log.jsonl"), "loss").front().second;
  EXPECT_NEAR(ours, theirs, 0.01 * theirs);
  EXPECT_NE(ours, theirs);
}

// After one step SGD's momentum is the gradient (with weight decay): here of a batch of all entries.
TEST_F(Training, TheGradientOfAnyNumberOfRanksIsThatOfOne) {
  TrainConfig config = config_of_test();
  config.epochs = 1;
  config.batch = 73;
  EXPECT_EQ(run(config, {}, "run").steps, 1);
  if (world().size() == 1) copy(folder_ / "run" / "checkpoints", beside_program("one-step"));
  if (!world().is_root()) return;
  const auto ours = training::Checkpoints(folder_ / "run" / "checkpoints").latest(), one = training::Checkpoints(beside_program("one-step")).latest();
  ASSERT_TRUE(ours && one);
  for (const auto& [name, tensor] : one->tensors) {
    const at::Tensor wanted = tensor.to(at::kDouble), difference = (ours->tensors.at(name).to(at::kDouble) - wanted).abs().max();
    EXPECT_LE(difference.item<double>(), 1e-9 * wanted.abs().max().item<double>()) << name;
  }
}

TEST_F(Training, GoesOnAfterALossExactlyAndOnAnotherNumberOfRanks) {
  Scores failing{.fail_in_epoch = 3};
  EXPECT_THROW(run(config_of_test(), std::ref(failing), "run"), core::PeerError);
  world().barrier("all have failed");
  // The second epoch's checkpoint: what this number of ranks leaves, and what one rank left.
  const std::string mine = fmt::format("checkpoints-{}", world().size());
  copy(folder_ / "run" / "checkpoints", beside_program(mine));
  for (const std::string& from : std::set<std::string>{mine, "checkpoints-1"}) {
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
  run(config, {}, "other", {{"swap"}}, 12);
  EXPECT_EQ(weights("first"), weights("again"));
  EXPECT_NE(weights("first"), weights("other"));
}

TEST_F(Training, WithoutATranslationThereAreNoPairs) {
  TrainConfig config = config_of_test();
  config.epochs = 2;
  config.matching_start = 0.5;
  const TrainResult result = run(config, {}, "cds", {});
  EXPECT_EQ(result.best_epoch, 2);  // without validation the last one
  if (!world().is_root()) return;
  for (const auto& [step, loss] : curve("cds", "loss_ppp")) EXPECT_EQ(loss, 0) << step;
  const Curve matching = curve("cds", "loss_cdm");
  ASSERT_EQ(static_cast<int64_t>(matching.size()), result.steps);
  for (const auto& [step, loss] : matching) EXPECT_EQ(loss != 0, step > result.steps / 2) << step;
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
  const std::string message = error_of(core::ExitCode::usage, [&] { run(config, std::ref(scores), "run"); });
  EXPECT_THAT(message, testing::HasSubstr("was made with train.temperature = 0.1, now it is 0.2"));
  EXPECT_THAT(message, testing::HasSubstr((folder_ / "run").string()));
}

// The shorter one validates in its last step too, where the longer one does not: that must not count.
TEST_F(Training, AFinishedRunGoesOnWhenItsLengthGrowsAsIfItHadBeenAskedForAtOnce) {
  TrainConfig shorter = config_of_test(), longer = config_of_test();
  shorter.epochs = 2;
  shorter.validate_every = longer.validate_every = 7;
  run(longer, Scores{.values = {0.25, 0.5, 0.75}}, "whole");
  run(shorter, Scores{.values = {0.25, 0.9}}, "grown");
  const TrainResult grown = run(longer, Scores{.values = {0.5, 0.75}}, "grown");
  EXPECT_EQ(grown.steps, 20);
  EXPECT_EQ(grown.now.steps, 10);
  EXPECT_EQ(grown.best_score, 0.75);
  EXPECT_EQ(grown.best_epoch, 4);
  if (world().size() == 1) {
    EXPECT_EQ(weights("grown"), weights("whole"));
  }
  if (world().is_root())
    for (const char* figure : figures) expect_same(curve("grown", figure), curve("whole", figure), rounding, figure);
  const auto refused = [&](const TrainConfig& config, const std::string& out) { return error_of(core::ExitCode::usage, [&] { run(config, Scores{}, out); }); };
  EXPECT_THAT(refused(shorter, "grown"), testing::HasSubstr("was made with train.epochs = 4, now it is train.epochs = 2: what was trained longer"));
  shorter.optimizer.schedule = longer.optimizer.schedule = "cosine";
  run(shorter, Scores{}, "falling rate");
  EXPECT_THAT(refused(longer, "falling rate"),
              testing::AllOf(testing::HasSubstr("was made with train.epochs = 2, now it is train.epochs = 4. By train.optimizer.schedule = \"cosine\""),
                             testing::HasSubstr("Set train.epochs = 2, choose another folder, or remove " + (folder_ / "falling rate").string())));
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
    EXPECT_THAT(error.what(), testing::ContainsRegex("no longer finite at step [0-9]+ "));
    EXPECT_THAT(error.what(), testing::HasSubstr("learning_rate"));
  }
  EXPECT_FALSE(fs::exists(folder_ / "run" / "done.json"));
}

/// Thirty steps; a run that fails in the third epoch leaves a checkpoint after ten.
TrainConfig six_epochs() {
  TrainConfig config = config_of_test();
  config.epochs = 6;
  return config;
}

TEST_F(Training, LeavesOnTwoRanksWhatTheNextTestGoesOnFrom) {
  if (world().size() != 2) return;
  const std::vector<double> scores = {0.25, 0.5, 0.75, 0.5, 0.5, 0.5};
  run(six_epochs(), Scores{.values = scores}, "whole");
  copy(folder_ / "whole" / "log.jsonl", beside_program("log-2.jsonl"));
  for (const std::string placement : {"replicated", "sharded"}) {
    TrainConfig config = six_epochs();
    config.bank.placement = placement;
    Scores failing{.values = scores, .fail_in_epoch = 3};
    EXPECT_THROW(run(config, std::ref(failing), placement), core::PeerError);
    world().barrier("all have failed");
    copy(folder_ / placement / "checkpoints", beside_program("checkpoints-2-of-six-" + placement));
  }
  EXPECT_TRUE(fs::exists(beside_program("checkpoints-2-of-six-sharded") / "step-10" / "bank.1.0-38.safetensors"));
}

// Only asked for with one rank and with three, after a run with two.
TEST_F(Training, DISABLED_OfTwoRanksGoesOnOnAnotherNumber) {
  for (const std::string from : {"replicated", "sharded"}) {
    for (const std::string placement : {"replicated", "sharded"}) {
      const std::string run_of = from + "-" + placement;
      SCOPED_TRACE(run_of);
      const fs::path left = beside_program("checkpoints-2-of-six-" + from);
      ASSERT_TRUE(fs::exists(left)) << "run this program with two ranks first";
      copy(left, folder_ / run_of / "checkpoints");
      TrainConfig config = six_epochs();
      config.bank.placement = placement;
      const TrainResult result = run(config, Scores{.values = {0.25, 0.5, 0.5, 0.5}}, run_of);
      EXPECT_EQ(result.best_score, 0.5);
      EXPECT_EQ(result.best_epoch, 2);
      if (!world().is_root()) continue;
      for (const char* figure : figures) {
        const Curve reference = training::read_metric(beside_program("log-2.jsonl"), figure);
        ASSERT_EQ(reference.size(), 30u);
        expect_same(curve(run_of, figure), Curve(reference.begin() + 10, reference.end()), rounding, figure);
      }
    }
  }
}

// The last suite of this file: the flag of a stop signal stays.
class TrainingStopped : public Training {};

TEST_F(TrainingStopped, ASignalToOneRankStopsAllWithTheirStateSaved) {
  core::watch_stop_signals("USR2");
  const Validate signalled = [](Encoder&) {
    if (world().rank() == world().size() - 1) raise(SIGUSR2);
    return 0.5;
  };
  EXPECT_THROW(run(config_of_test(), signalled, "run"), core::StopRequested);
  const auto checkpoint = training::Checkpoints(folder_ / "run" / "checkpoints").latest();
  ASSERT_TRUE(checkpoint.has_value());
  EXPECT_EQ(checkpoint->step, 6);  // the signal came after the fifth step, ranks agree at the next line of the log
  EXPECT_EQ(io::json_double(io::json_object(checkpoint->state, "best_labels", "state"), "score", "state"), 0.5);
}

}  // namespace
}  // namespace syncdr::retrieval
