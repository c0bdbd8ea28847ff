// rooms: fit
// after: mpi.fit_diffusion.1
// With one rank it writes the losses and the checkpoint that the runs with more ranks compare with, beside the program.
#include <gmock/gmock.h>

#include "fit_case.h"
#include "syncdr/diffusion/checkpoint.h"
#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/unet.h"
#include "syncdr/fit/diffusion.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/training/metric_log.h"
#include "tiny_dataset_test.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;
using test::world;
using testing::HasSubstr;
using training::Curve;

/// 6 steps of 8 images, 9 and 13 images per domain: the third step begins the second epoch of the first.
DiffusionFitConfig diffusion_config() {
  DiffusionFitConfig config;
  config.prompts = {"a warm picture", "a cold picture"};
  config.steps = 6;
  config.batch = 8;
  config.unet = {.channels = {8, 16}, .head_width = 8, .norm_groups = 4};
  config.text = {.width = 16, .layers = 1, .heads = 2, .length = 20};
  config.autoencoder = {.steps = 2, .batch = 4, .channels = {8, 16}, .latent_channels = 3, .norm_groups = 4, .augment = {.resize = 18, .crop = 16}};
  config.optimizer.learning_rate = 1e-4;  // Adam turns gradients that are rounding alone into whole steps
  config.optimizer.schedule = "constant";
  config.ema = 0.9;
  config.augment = {.resize = 18, .crop = 16};
  config.dtype = "fp32";
  config.log_every = 1;
  config.sample_every = 4;
  config.checkpoint_every = 3;
  return config;
}

fs::path beside_program(const std::string& name) { return test::beside_program("mpi_fit_diffusion", name); }

class FitDiffusion : public test::TinyDatasetTest {
 protected:
  FitDiffusion() : TinyDatasetTest({.first = 9, .second = 13, .third = 11, .side = 20}) {}

  void fit(const std::string& out, const DiffusionFitConfig& config = diffusion_config(), uint64_t seed = 5) {
    fit_diffusion({world(), *dataset_, {"warm", "cold"}, seed, folder_ / out}, config);
    world().barrier("a fit is over");
  }
  std::string error_of(core::ExitCode code, const std::string& out, const DiffusionFitConfig& config, uint64_t seed = 5) {
    return TinyDatasetTest::error_of(code, [&] { fit(out, config, seed); });
  }
  /// What a run killed right after its checkpoint of step 3 leaves.
  void leave_only_checkpoint(const std::string& run, const std::string& out) {
    world().root_only("copying", [&] {
      fs::create_directories(folder_ / out / "checkpoints");
      fs::copy(folder_ / run / "checkpoints" / "step-3", folder_ / out / "checkpoints" / "step-3", fs::copy_options::recursive);
      fs::copy(folder_ / run / "autoencoder", folder_ / out / "autoencoder", fs::copy_options::recursive);
      fs::copy(folder_ / run / "log.jsonl", folder_ / out / "log.jsonl");
    });
  }
  std::string bytes(const std::string& out, const std::string& component) const {
    const char* file = component == "text_encoder" ? "model.safetensors" : "diffusion_pytorch_model.safetensors";
    return io::read_file(folder_ / out / "checkpoint" / component / file);
  }
  io::NamedTensors unet(const std::string& out) const { return diffusion::read_weights(folder_ / out / "checkpoint" / "unet", "diffusion_pytorch_model"); }
  Curve curve(const std::string& out) const { return training::read_metric(folder_ / out / "log.jsonl", "loss"); }
  DiffusionFitConfig going_on_from(const std::string& out, int64_t lora_rank) const {
    DiffusionFitConfig config = diffusion_config();
    config.from = (folder_ / out / "checkpoint").string();
    config.lora_rank = lora_rank;
    config.optimizer.learning_rate = 1e-2;
    return config;
  }
};

TEST_F(FitDiffusion, LossesOfAnyNumberOfRanksAreThoseOfOne) {
  fit("run");
  ASSERT_EQ(curve("run").size(), 6u);
  if (world().size() == 1) {
    fs::remove_all(beside_program(""));
    fs::create_directories(beside_program(""));
    fs::copy(folder_ / "run" / "log.jsonl", beside_program("log.jsonl"));
  }
  ASSERT_TRUE(fs::exists(beside_program("log.jsonl"))) << "run this program with one rank first";
  expect_same(curve("run"), training::read_metric(beside_program("log.jsonl"), "loss"));
}

TEST_F(FitDiffusion, OneModelOfThreeDomainsIsThatOfOneRankOnAnyNumber) {
  DiffusionFitConfig config = diffusion_config();
  config.prompts.push_back("a mild picture");
  config.batch = 9;
  fit_diffusion({world(), *dataset_, {"warm", "cold", "mild"}, 5, folder_ / "three"}, config);
  world().barrier("a fit is over");
  ASSERT_EQ(curve("three").size(), 6u);
  if (world().size() == 1) fs::copy(folder_ / "three" / "log.jsonl", beside_program("three.jsonl"));
  ASSERT_TRUE(fs::exists(beside_program("three.jsonl"))) << "run this program with one rank first";
  expect_same(curve("three"), training::read_metric(beside_program("three.jsonl"), "loss"));
  EXPECT_TRUE(fs::exists(folder_ / "three" / "samples" / "step-4.png"));
}

TEST_F(FitDiffusion, LeavesACheckpointFolderSamplesAndFigures) {
  DiffusionFitConfig config = diffusion_config();
  config.steps = 60;
  config.sample_every = 30;
  config.optimizer.learning_rate = 2e-3;
  config.dtype = "fp16";
  fit("run", config);
  const diffusion::CheckpointFolder checkpoint(folder_ / "run" / "checkpoint");
  EXPECT_EQ(checkpoint.pipeline(), "StableDiffusionInstructPix2PixPipeline");
  for (const auto& [name, tensor] : checkpoint.weights("unet", "diffusion_pytorch_model")) EXPECT_EQ(tensor.scalar_type(), at::kHalf) << name;
  EXPECT_EQ(diffusion::load_unet(checkpoint)->config().in_channels, 6);
  EXPECT_EQ(diffusion::load_text_encoder(checkpoint)->config().positions, 20);
  for (const char* sheet : {"step-30.png", "step-60.png"}) EXPECT_TRUE(fs::exists(folder_ / "run" / "samples" / sheet)) << sheet;
  const Curve loss = curve("run");
  double first = 0, last = 0;
  for (size_t k = 0; k < 10; ++k) first += loss[k].second, last += loss[loss.size() - 1 - k].second;
  EXPECT_LT(last, 0.9 * first);
}

TEST_F(FitDiffusion, KilledAfterACheckpointItEndsWithTheSameModel) {
  DiffusionFitConfig config = diffusion_config();
  config.views = 2;  // what was kept in memory is gone, too
  fit("whole", config);
  leave_only_checkpoint("whole", "resumed");
  fit("resumed", config);
  for (const char* component : {"unet", "text_encoder", "vae"}) EXPECT_EQ(bytes("resumed", component), bytes("whole", component)) << component;
  EXPECT_EQ(curve("resumed"), curve("whole"));
}

TEST_F(FitDiffusion, LowRankAdditionsChangeAttentionProjectionsAlone) {
  fit("whole");
  fit("tuned", going_on_from("whole", 2));
  const io::NamedTensors before = unet("whole"), after = unet("tuned");
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, tensor] : before) {
    const bool projection = name.find(".to_") != std::string::npos && name.ends_with(".weight");
    EXPECT_EQ(tensor.equal(after.at(name)), !projection) << name;
  }
  for (const char* component : {"text_encoder", "vae"}) EXPECT_EQ(bytes("tuned", component), bytes("whole", component)) << component;
  EXPECT_FALSE(fs::exists(folder_ / "tuned" / "autoencoder"));
  const auto alone =
      diffusion::read_lora({{folder_ / "tuned" / "pytorch_lora_weights.safetensors"}}, diffusion::CheckpointFolder(folder_ / "whole" / "checkpoint"));
  io::NamedTensors added = before;
  diffusion::add_lora(added, alone.unet, at::kFloat);
  for (const auto& [name, tensor] : after) EXPECT_TRUE(at::allclose(added.at(name).to(tensor.scalar_type()), tensor, 1e-5, 1e-6)) << name;
}

TEST_F(FitDiffusion, LowRankAdditionsAreResumedToTheSameModel) {
  fit("base");
  fit("whole", going_on_from("base", 2));
  world().root_only("copying", [&] { fs::create_directories(folder_ / "whole" / "autoencoder"); });
  leave_only_checkpoint("whole", "resumed");
  fit("resumed", going_on_from("base", 2));
  EXPECT_EQ(bytes("resumed", "unet"), bytes("whole", "unet"));
}

TEST_F(FitDiffusion, APlainCheckpointIsTunedToTheStructureLayout) {
  DiffusionFitConfig plain = diffusion_config();
  plain.layout = "text";
  fit("plain", plain);
  EXPECT_EQ(unet("plain").at("conv_in.weight").size(1), 3);
  fit("tuned", going_on_from("plain", 0));
  fit("low rank", going_on_from("plain", 2));
  for (const char* run : {"tuned", "low rank"}) {
    const at::Tensor weight = unet(run).at("conv_in.weight");
    EXPECT_EQ(weight.size(1), 6) << run;
    EXPECT_GT(weight.narrow(1, 3, 3).abs().max().item<float>(), 0) << run << ": the condition is not learned";
    EXPECT_FALSE(fs::exists(folder_ / run / "pytorch_lora_weights.safetensors")) << run << ": it is no LoRA, or not all of what was trained";
  }
}

TEST_F(FitDiffusion, AFinishedFitIsNotRepeatedAndAnotherOneRefused) {
  fit("run");
  const auto written = fs::last_write_time(folder_ / "run" / "checkpoint" / "model_index.json");
  DiffusionFitConfig config = diffusion_config();
  config.log_every = 7;  // how often a run reports changes nothing
  fit("run", config);
  EXPECT_EQ(fs::last_write_time(folder_ / "run" / "checkpoint" / "model_index.json"), written);
  config.min_snr_gamma = 5;
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", config), HasSubstr("was made with fit.diffusion.min_snr_gamma = 0.0, now it is 5.0"));
  config = diffusion_config();
  config.steps = 2;
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", config), HasSubstr("was made with fit.diffusion.steps = 6, now it is fit.diffusion.steps = 2"));
}

TEST_F(FitDiffusion, InBfloat16LossesAreNearly) {
  DiffusionFitConfig config = diffusion_config();
  config.precision = "bf16";
  fit("run", config);
  const double exact = training::read_metric(beside_program("log.jsonl"), "loss").front().second, rounded = curve("run").front().second;
  EXPECT_NEAR(rounded, exact, 0.05 * exact);
  EXPECT_NE(rounded, exact) << "it is not bfloat16";
}

TEST_F(FitDiffusion, RefusesSettingsThatDoNotFitEachOther) {
  const auto refused = [&](const std::function<void(DiffusionFitConfig&)>& change) {
    DiffusionFitConfig config = diffusion_config();
    change(config);
    return error_of(core::ExitCode::usage, "refused", config);
  };
  EXPECT_THAT(refused([](auto& config) { config.prompts = {"one"}; }), HasSubstr("fit.diffusion.prompts needs 2 texts"));
  EXPECT_THAT(refused([](auto& config) { config.batch = 7; }), HasSubstr("fit.diffusion.batch = 7: needs a multiple of the 2 domains"));
  EXPECT_THAT(refused([](auto& config) { config.lora_rank = 4; }), HasSubstr("without fit.diffusion.from"));
  EXPECT_THAT(refused([](auto& config) { config.sigmas = {2, 1}; }), HasSubstr("fit.diffusion.sigmas"));
  EXPECT_THAT(refused([](auto& config) { config.unet.channels = {8, 18}; }), HasSubstr("fit.diffusion.unet.channels holds 18"));
  EXPECT_THAT(refused([](auto& config) { config.prediction = "epsilon"; }), HasSubstr("fit.diffusion.zero_terminal_snr"));
  EXPECT_FALSE(fs::exists(folder_ / "refused"));
}

}  // namespace
}  // namespace syncdr::fit
