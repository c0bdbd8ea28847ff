// ranks: 1 3
// rooms: retrieval
// after: mpi.retrieval.1
// after: mpi.retrieval_settings.1
// What changes a training: more domains and sets, precisions, averages, patience, chunks. With one rank it leaves what the cases with more compare with.
#include "retrieval_case.h"
#include "syncdr/io/atomic_file.h"

namespace syncdr::retrieval {
namespace {

/// Three domains, every translation by two sets.
class TrainingOfThreeDomains : public test::TinyDatasetTest {
 protected:
  TrainingOfThreeDomains() : TinyDatasetTest({.first = 12, .second = 16, .third = 20, .runs = {"swap", "fade"}}) {}

  Curve run(const std::vector<data::TranslatedSet>& sets, const std::string& out, const std::string& figure = "loss") {
    TrainConfig config = config_of_test();
    config.epochs = 2;
    config.batch = 9;
    train({world(), *dataset_, {"warm", "cold", "mild"}, 11, folder_ / out}, sets, config, {});
    world().barrier("a training is over");
    return training::read_metric(folder_ / out / "log.jsonl", figure);
  }
};

TEST_F(TrainingOfThreeDomains, FromTwoSetsHasTheLossesOfOneRankOnAnyNumber) {
  const std::vector<data::TranslatedSet> sets{{.run = "swap", .share = 2}, {.run = "fade"}};
  const Curve loss = run(sets, "run");
  ASSERT_GT(loss.size(), 8u);
  if (world().size() == 1) {
    fs::create_directories(beside_program(""));
    fs::copy(folder_ / "run" / "log.jsonl", beside_program("three.jsonl"), fs::copy_options::overwrite_existing);
  }
  for (const char* figure : figures) expect_same(run(sets, "run", figure), training::read_metric(beside_program("three.jsonl"), figure), rounding, figure);
  EXPECT_NE(run({{.run = "swap", .share = 2}, {.run = "fade", .weights = {{{"warm", "mild"}, at::full({12, 1}, 0.1, at::kDouble)}}}}, "other weights"), loss);
  EXPECT_NE(run({{"swap"}}, "one set"), loss);
  EXPECT_NE(run({{.run = "swap"}, {.run = "fade"}}, "other shares"), loss);
}

TEST_F(TrainingOfThreeDomains, OtherSharesAreAnotherTraining) {
  run({{"swap"}, {"fade"}}, "run");
  const std::string message = error_of(core::ExitCode::usage, [&] { run({{.run = "swap", .share = 2}, {.run = "fade"}}, "run"); });
  EXPECT_THAT(message, testing::HasSubstr("translations = swap + fade in shares 1 : 1, now it is swap + fade in shares 2 : 1"));
}

TEST_F(Training, InBfloat16StaysNearFullPrecision) {
  TrainConfig config = config_of_test();
  config.precision = "bf16";
  config.epochs = 1;
  run(config, {}, "run");
  if (!world().is_root()) return;
  const Curve loss = curve("run", "loss"), reference = training::read_metric(beside_program("log.jsonl"), "loss");
  ASSERT_EQ(loss.size(), 5u);
  // Later losses follow from weights that have gone other ways. That all are finite the training checks itself.
  EXPECT_NEAR(loss.front().second, reference.front().second, 0.05 * reference.front().second);
  EXPECT_GT(std::abs(loss.front().second - reference.front().second), 1e-5) << "this is no bfloat16";
}

TEST_F(Training, InFloat16LossesAreScaledAndStayNearFullPrecision) {
  TrainConfig config = config_of_test();
  config.precision = "fp16";
  config.images = 112;  // two steps: on CPUs it is slow
  EXPECT_EQ(run(config, {}, "run").steps, 2);
  if (!world().is_root()) return;
  const Curve loss = curve("run", "loss"), reference = training::read_metric(beside_program("log.jsonl"), "loss");
  ASSERT_EQ(loss.size(), 2u);
  EXPECT_NEAR(loss.front().second, reference.front().second, 0.01 * reference.front().second);
  EXPECT_GT(std::abs(loss.front().second - reference.front().second), 1e-7) << "this is no float16";
  EXPECT_EQ(curve("run", "loss_scale").back().second * std::exp2(curve("run", "skipped_steps").back().second), 65536);
  const auto checkpoint = training::Checkpoints(folder_ / "run" / "checkpoints").latest();
  ASSERT_TRUE(checkpoint.has_value());
  EXPECT_EQ(io::json_double(io::json_object(checkpoint->state, "loss_scaler", "state"), "scale", "state"), curve("run", "loss_scale").back().second);
}

TEST_F(Training, TheMovingAverageIsValidatedAndSavedInPlaceOfTheWeights) {
  TrainConfig config = config_of_test();
  config.epochs = 2;
  config.ema = 0.99;
  std::vector<std::string> judged;
  const Validate validate = [&](Encoder& encoder) {
    EXPECT_FALSE(encoder->is_training());
    judged.push_back(nn::state_hash(*encoder));
    return static_cast<double>(judged.size());
  };
  run(config, validate, "whole");
  ASSERT_EQ(judged.size(), 2u);
  Scores failing{.values = {1, 2}, .fail_in_epoch = 2};
  EXPECT_THROW(run(config, std::ref(failing), "broken"), core::PeerError);
  world().barrier("all have failed");
  run(config, validate, "broken");
  if (world().size() == 1) {
    EXPECT_EQ(judged.back(), judged.at(1)) << "it goes on exactly";
  }
  if (!world().is_root()) return;
  const auto checkpoint = training::Checkpoints(folder_ / "whole" / "checkpoints").latest();
  ASSERT_TRUE(checkpoint.has_value());
  const auto average = training::take_prefix(checkpoint->tensors, "ema."), weights = training::take_prefix(checkpoint->tensors, "model.");
  EXPECT_EQ(io::json_int(checkpoint->state, "ema_updates", "state"), 10);
  const Encoder saved = load_encoder(folder_ / "whole" / "encoder.safetensors");
  for (const auto& [name, tensor] : nn::state_of(*saved)) EXPECT_TRUE(tensor.allclose(average.at(name).to(tensor.scalar_type()))) << name;
  const at::Tensor head = nn::state_of(*saved).at("head.weight");
  EXPECT_GT((head - weights.at("head.weight")).abs().max().item<double>(), 1e-6);
}

TEST_F(Training, PatienceEndsTheRunAlsoOneThatWasLostBefore) {
  TrainConfig config = config_of_test();
  config.patience = 2;
  const auto expect_ended = [&](const TrainResult& result, const std::string& out) {
    EXPECT_EQ(result.steps, 15);
    EXPECT_EQ(result.best_epoch, 1);
    if (!world().is_root()) return;
    const auto record = io::parse_json(io::read_file(folder_ / out / "done.json"), "done.json").as_object();
    EXPECT_TRUE(record.at("stopped_early").as_bool());
    EXPECT_EQ(record.at("steps").as_int64(), 15);
  };
  Scores scores{.values = {0.5, 0.25, 0.5, 0.9}};  // equal is no better
  expect_ended(run(config, std::ref(scores), "whole"), "whole");
  TrainConfig longer = config;
  longer.epochs = 6;
  expect_ended(run(longer, std::ref(scores), "whole"), "whole");
  EXPECT_EQ(scores.calls, 3u) << "it was ended for more steps, too";

  Scores failing{.values = {0.5, 0.25}, .fail_in_epoch = 3};
  EXPECT_THROW(run(config, std::ref(failing), "broken"), core::PeerError);
  world().barrier("all have failed");
  expect_ended(run(config, Scores{.values = {0.5}}, "broken"), "broken");
  world().root_only("losing the end", [&] { fs::remove(folder_ / "broken" / "done.json"); });
  Scores none;
  expect_ended(run(config, std::ref(none), "broken"), "broken");
  EXPECT_EQ(none.calls, 0u) << "the last checkpoint had ended";
  if (world().size() == 1) {
    EXPECT_EQ(weights("broken"), weights("whole"));
  }
}

TEST_F(Training, WithoutAnythingToValidatePatienceIsRefused) {
  TrainConfig config = config_of_test();
  config.patience = 1;
  EXPECT_THAT(error_of(core::ExitCode::usage, [&] { run(config, {}, "run"); }), testing::HasSubstr("train.patience = 1"));
  config.patience = 0;
  config.ema = 1;
  EXPECT_THAT(error_of(core::ExitCode::usage, [&] { run(config, {}, "run"); }), testing::HasSubstr("train.ema = 1"));
}

/// Without statistics of a batch a chunk's features are those of the whole.
TrainConfig frozen_statistics() {
  TrainConfig config = config_of_test();
  config.epochs = 1;
  config.encoder.batch_norm = "frozen";
  config.encoder.feature_norm = false;
  return config;
}

TEST_F(Training, InChunksItIsTheSameTraining) {
  TrainConfig config = frozen_statistics();
  run(config, {}, "whole");
  if (world().size() == 1) copy(folder_ / "whole" / "log.jsonl", beside_program("log-frozen.jsonl"));
  config.chunk = 9;  // 28 images and as many counterparts: chunks of unequal size
  run(config, {}, "chunks");
  if (!world().is_root()) return;
  for (const char* figure : figures) {
    expect_same(curve("chunks", figure), curve("whole", figure), 1e-9, figure);
    expect_same(curve("chunks", figure), training::read_metric(beside_program("log-frozen.jsonl"), figure), 1e-9, figure);
  }
  const auto whole = training::Checkpoints(folder_ / "whole" / "checkpoints").latest(),
             chunks = training::Checkpoints(folder_ / "chunks" / "checkpoints").latest();
  ASSERT_TRUE(whole && chunks);
  for (const auto& [name, tensor] : whole->tensors) {
    const at::Tensor wanted = tensor.to(at::kDouble), difference = (chunks->tensors.at(name).to(at::kDouble) - wanted).abs().max();
    EXPECT_LE(difference.item<double>(), 1e-9 * std::max(1.0, wanted.abs().max().item<double>())) << name;
  }
}

TEST_F(Training, OfWeightedPairsHasTheLossesOfOneRankOnAnyNumberAndInChunks) {
  TrainConfig config = frozen_statistics();
  run(config, {}, "run", weighted_swap());
  if (world().size() == 1) copy(folder_ / "run" / "log.jsonl", beside_program("weighted.jsonl"));
  run(config, {}, "unweighted");
  config.chunk = 9;
  run(config, {}, "chunks", weighted_swap());
  if (!world().is_root()) return;
  for (const char* figure : figures) {
    expect_same(curve("run", figure), training::read_metric(beside_program("weighted.jsonl"), figure), rounding, figure);
    expect_same(curve("chunks", figure), training::read_metric(beside_program("weighted.jsonl"), figure), rounding, figure);
  }
  EXPECT_EQ(curve("run", "loss_id").front(), curve("unweighted", "loss_id").front());
  EXPECT_GT(std::abs(curve("run", "loss_ppp").front().second - curve("unweighted", "loss_ppp").front().second), 1e-6);
}

TEST_F(Training, AChunkMovesRunningAveragesOnce) {
  TrainConfig config = config_of_test();
  config.epochs = 1;
  const auto batches_seen = [&](int64_t chunk, const std::string& out) {
    config.chunk = chunk;
    run(config, {}, out);
    world().barrier("a run's checkpoint");
    const auto checkpoint = training::Checkpoints(folder_ / out / "checkpoints").latest();
    return checkpoint->tensors.at("model.backbone.bn1.num_batches_tracked").item<int64_t>();
  };
  const int64_t whole = batches_seen(0, "whole");
  EXPECT_EQ(batches_seen(1000, "as one"), whole);
  EXPECT_EQ(batches_seen(40 / world().size() + 1, "in two"), whole + 5) << "a step has 56 images or a few less, an epoch five steps";
}

TEST_F(Training, AClippedGradientIsThatOfOneRankToo) {
  TrainConfig config = config_of_test();
  config.epochs = 1;
  config.optimizer.clip = 0.5;
  config.optimizer.warmup_steps = 3;
  run(config, {}, "run");
  if (world().size() == 1) copy(folder_ / "run" / "log.jsonl", beside_program("log-clipped.jsonl"));
  if (!world().is_root()) return;
  const Curve whole = training::read_metric(beside_program("log.jsonl"), "loss"), loss = curve("run", "loss");
  expect_same(loss, training::read_metric(beside_program("log-clipped.jsonl"), "loss"), rounding, "loss");
  EXPECT_NE(loss.back().second, whole.at(loss.size() - 1).second);
}

}  // namespace
}  // namespace syncdr::retrieval
