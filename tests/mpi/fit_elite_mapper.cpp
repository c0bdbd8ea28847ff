// rooms: fit
// after: mpi.fit_elite_mapper.1
// With one rank it writes the losses that the runs with more ranks compare with, beside the program.
#include <gmock/gmock.h>

#include "diffusion/tiny_elite.h"
#include "fit_case.h"
#include "syncdr/fit/diffusion.h"
#include "syncdr/fit/elite_mapper.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/training/metric_log.h"
#include "tiny_dataset_test.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;
using diffusion::TinyElite;
using test::world;
using testing::HasSubstr;
using training::Curve;

fs::path beside_program(const std::string& name) { return test::beside_program("mpi_fit_elite_mapper", name); }

class FitEliteMapper : public test::TinyDatasetTest {
 protected:
  FitEliteMapper() : TinyDatasetTest({.first = 9, .second = 13, .side = 20}) {}

  /// 6 steps of 6 images, 9 and 13 of each domain.
  EliteMapperConfig config_for(const std::string& layout) {
    const bool there = fs::exists(folder_ / layout);
    world().barrier("all have looked for a model");
    DiffusionFitConfig model = small_model(layout);
    model.dtype = "fp32";
    if (!there) fit_diffusion({world(), *dataset_, {"warm", "cold"}, 5, folder_ / layout}, model);
    world().root_only("an image encoder", [&] { TinyElite::put_image_encoder(folder_ / "image_encoder", TinyElite::vision()); });
    EliteMapperConfig config;
    config.from = (folder_ / layout / "checkpoint").string();
    config.image_encoder = (folder_ / "image_encoder").string();
    config.hidden = 12;
    config.steps = 6;
    config.batch = 6;
    config.drop_prompt = 0.2;
    config.optimizer.learning_rate = 1e-4;
    config.augment = {.resize = 18, .crop = 16};
    config.prompts = {"warm S", "a cold S"};
    config.log_every = 1;
    config.sample_every = 4;
    config.checkpoint_every = 3;
    return config;
  }
  void fit(const std::string& out, const EliteMapperConfig& config) {
    fit_elite_mapper({world(), *dataset_, {"warm", "cold"}, 5, folder_ / out}, config);
    world().barrier("a fit is over");
  }
  std::string error_of(core::ExitCode code, const std::function<void(EliteMapperConfig&)>& change) {
    EliteMapperConfig config = config_for("text");
    change(config);
    return TinyDatasetTest::error_of(code, [&] { fit("refused", config); });
  }
  Curve curve(const std::string& out, const std::string& name = "loss") const { return training::read_metric(folder_ / out / "log.jsonl", name); }
  std::string bytes(const std::string& out) const { return io::read_file(folder_ / out / mapper_file); }
  io::NamedTensors weights(const std::string& out) const { return io::read_safetensors(folder_ / out / mapper_file).tensors; }
};

TEST_F(FitEliteMapper, LossesOfAnyNumberOfRanksAreThoseOfOne) {
  if (world().size() == 1) {
    fs::remove_all(beside_program(""));
    fs::create_directories(beside_program(""));
  }
  for (const char* layout : {"text", "instruct"}) {
    fit("run", config_for(layout));
    ASSERT_EQ(curve("run").size(), 6u);
    const fs::path reference = beside_program(std::string(layout) + ".jsonl");
    if (world().size() == 1) fs::copy(folder_ / "run" / "log.jsonl", reference);
    ASSERT_TRUE(fs::exists(reference)) << "run this program with one rank first";
    for (const char* name : {"loss", "word_magnitude"}) expect_same(curve("run", name), training::read_metric(reference, name));
    world().barrier("all have read");
    world().root_only("making room", [&] { fs::remove_all(folder_ / "run"); });
  }
}

TEST_F(FitEliteMapper, LearnsTheMapperAndLeavesItWithSamples) {
  EliteMapperConfig config = config_for("text");
  config.steps = 60;
  config.sample_every = 30;
  config.optimizer.learning_rate = 3e-3;
  fit("run", config);
  const diffusion::CheckpointFolder checkpoint(config.from);
  EXPECT_NO_THROW(diffusion::check_elite_files(checkpoint, {.image_encoder = config.image_encoder, .mapper = folder_ / "run" / mapper_file}));
  for (const char* sheet : {"step-30.png", "step-60.png"}) EXPECT_TRUE(fs::exists(folder_ / "run" / "samples" / sheet)) << sheet;
  const Curve loss = curve("run");
  double first = 0, last = 0;
  for (size_t k = 0; k < 20; ++k) first += loss[k].second, last += loss[loss.size() - 1 - k].second;
  EXPECT_LT(last, first);
}

TEST_F(FitEliteMapper, BeginsWithTheUNetsOwnProjections) {
  EliteMapperConfig config = config_for("text");
  config.steps = 1;
  config.optimizer.learning_rate = 1e-9;
  fit("run", config);
  const io::NamedTensors mapper = weights("run"), unet = diffusion::CheckpointFolder(config.from).weights("unet", "diffusion_pytorch_model");
  int64_t projections = 0;
  for (const auto& [weight, tensor] : unet) {
    if (!weight.ends_with(".attn2.to_k.weight") && !weight.ends_with(".attn2.to_v.weight")) continue;
    std::string name = weight;
    name.resize(name.size() - std::string(".weight").size());
    std::replace(name.begin(), name.end(), '.', '_');
    EXPECT_TRUE(at::allclose(mapper.at(name + ".weight"), tensor, 1e-5, 1e-7)) << name;
    ++projections;
  }
  EXPECT_GT(projections, 0);
}

TEST_F(FitEliteMapper, EveryPartOfTheMapperIsTrained) {
  EliteMapperConfig config = config_for("text");
  config.steps = 1;
  config.optimizer.learning_rate = 1e-9;
  fit("before", config);
  config.optimizer.learning_rate = 1e-2;
  fit("after", config);
  const io::NamedTensors before = weights("before"), after = weights("after");
  for (const auto& [name, tensor] : before) EXPECT_FALSE(at::allclose(tensor, after.at(name), 1e-4, 1e-6)) << name;
}

TEST_F(FitEliteMapper, APenaltyKeepsWordsSmall) {
  EliteMapperConfig config = config_for("text");
  config.steps = 30;
  config.word_penalty = 0;
  config.optimizer.learning_rate = 1e-2;
  fit("free", config);
  config.word_penalty = 10;
  fit("small", config);
  EXPECT_LT(curve("small", "word_magnitude").back().second, 0.9 * curve("free", "word_magnitude").back().second);
}

TEST_F(FitEliteMapper, TheStructureMapIsSeenUnlessItIsDropped) {
  EliteMapperConfig config = config_for("instruct");
  config.steps = 1;
  const auto loss_with = [&](double drop, double sigma) {
    config.drop_condition = drop;
    config.sigmas = {sigma, sigma};
    const std::string out = fmt::format("run-{}-{}", drop, sigma);
    fit(out, config);
    return curve(out).front().second;
  };
  EXPECT_NE(loss_with(0, 0.7), loss_with(0, 3));
  EXPECT_EQ(loss_with(1, 0.7), loss_with(1, 3));
}

TEST_F(FitEliteMapper, KilledAfterACheckpointItEndsWithTheSameMapper) {
  const EliteMapperConfig config = config_for("instruct");
  fit("whole", config);
  world().root_only("copying", [&] {
    fs::create_directories(folder_ / "resumed" / "checkpoints");
    fs::copy(folder_ / "whole" / "checkpoints" / "step-3", folder_ / "resumed" / "checkpoints" / "step-3", fs::copy_options::recursive);
    fs::copy(folder_ / "whole" / "log.jsonl", folder_ / "resumed" / "log.jsonl");
  });
  fit("resumed", config);
  EXPECT_EQ(bytes("resumed"), bytes("whole"));
  EXPECT_EQ(curve("resumed"), curve("whole"));
  EliteMapperConfig shorter = config;
  shorter.steps = 2;
  EXPECT_THAT(TinyDatasetTest::error_of(core::ExitCode::usage, [&] { fit("resumed", shorter); }), HasSubstr("now it is fit.elite_mapper.steps = 2"));
}

TEST_F(FitEliteMapper, WhatCannotWorkIsRefusedByName) {
  const auto usage = core::ExitCode::usage;
  EXPECT_THAT(error_of(usage, [](auto& c) { c.from.clear(); }), HasSubstr("fit.elite_mapper.from names no checkpoint"));
  EXPECT_THAT(error_of(usage, [](auto& c) { c.image_encoder = "nowhere"; }), HasSubstr("nowhere is not there. Set fit.elite_mapper.image_encoder"));
  EXPECT_THAT(error_of(usage, [](auto& c) { c.batch = 7; }), HasSubstr("a multiple of the 2 domains"));
  EXPECT_THAT(error_of(usage, [](auto& c) { c.prompts.pop_back(); }), HasSubstr("1 texts for 2 domains"));
  EXPECT_THAT(error_of(usage, [](auto& c) { c.prompts[1] = "a cold one"; }),
              HasSubstr("fit.elite_mapper.prompts: a prompt: \"a cold one\" holds the word S nowhere"));
  EXPECT_THAT(error_of(usage, [](auto& c) { c.prompts[1] = "a very very very cold S"; }), HasSubstr("Write it further in front"));
  EXPECT_THAT(error_of(usage, [](auto& c) { c.states = {-1, 4}; }), HasSubstr("states has 2 numbers"));
  EXPECT_THAT(error_of(usage, [](auto& c) { c.states.back() = 17; }), HasSubstr("names hidden state 17, the image encoder"));
  EXPECT_THAT(error_of(usage, [](auto& c) { c.sigmas = {2, 1}; }), HasSubstr("fit.elite_mapper.sigmas = [2, 1]"));
  world().root_only("another network", [&] {
    fs::create_directory(folder_ / "depth");
    diffusion::TinyCheckpoint{.unet_channels = 5}.put(folder_ / "depth");
  });
  EXPECT_THAT(error_of(usage, [&](auto& c) { c.from = (folder_ / "depth").string(); }), HasSubstr("has 5 input channels, latents have 4"));
  EXPECT_THAT(error_of(usage, [](auto& c) { c.augment = {.resize = 17, .crop = 17}; }), HasSubstr("fit.elite_mapper.augment.crop = 17"));
  EXPECT_THAT(error_of(core::ExitCode::bad_data, [](auto& c) { c.from = "nowhere"; }), HasSubstr("nowhere"));
  EXPECT_FALSE(fs::exists(folder_ / "refused"));
}

}  // namespace
}  // namespace syncdr::fit
