// ranks: 1 2
// after: mpi.fit_autoencoder.1
// rooms: fit
// With one rank it writes the losses and the checkpoint that the run with two ranks compares with, beside the program.
#include <gmock/gmock.h>

#include "syncdr/data/loader.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/fit/autoencoder.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/training/metric_log.h"
#include "tiny_dataset_test.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;
using test::world;
using testing::HasSubstr;
using training::Curve;

const char* const terms[] = {"loss_pixel", "loss_chroma", "loss_gradient", "loss_kl"};

/// 6 steps of 3 images per domain: two ranks hold two and one.
AutoencoderFitConfig config_of_test() {
  AutoencoderFitConfig config{.steps = 6,
                              .batch = 3,
                              .channels = {4, 8},
                              .latent_channels = 3,
                              .norm_groups = 2,
                              .ema = 0.9,
                              .scale_images = 5,
                              .augment = {.resize = 19, .crop = 16},
                              .log_every = 1,
                              .sample_every = 0,
                              .checkpoint_every = 3};
  config.optimizer.learning_rate = 1e-3;
  return config;
}

fs::path beside_program(const std::string& name) { return test::beside_program("mpi_fit_autoencoder", name); }

class FitAutoencoder : public test::TinyDatasetTest {
 protected:
  FitAutoencoder() : TinyDatasetTest({.first = 9, .second = 13}) {}

  void fit(const std::string& out, const AutoencoderFitConfig& config = config_of_test()) {
    fit_autoencoder({world(), *dataset_, {"warm", "cold"}, 5, folder_ / out}, config);
    world().barrier("a fit is over");
  }
  std::string error_of(core::ExitCode code, const std::string& out, const AutoencoderFitConfig& config) {
    return TinyDatasetTest::error_of(code, [&] { fit(out, config); });
  }
  std::string bytes(const std::string& out) const { return io::read_file(folder_ / out / "diffusion_pytorch_model.safetensors"); }
  Curve curve(const std::string& out, const std::string& figure) const { return training::read_metric(folder_ / out / "log.jsonl", figure); }
};

TEST_F(FitAutoencoder, LossesOfTwoRanksAreThoseOfOne) {
  fit("run");
  if (world().size() == 1) {
    fs::remove_all(beside_program(""));
    fs::create_directories(beside_program(""));
    fs::copy(folder_ / "run" / "log.jsonl", beside_program("log.jsonl"));
  }
  ASSERT_TRUE(fs::exists(beside_program("log.jsonl"))) << "run this program with one rank first";
  for (const char* term : terms) {
    const Curve ours = curve("run", term), theirs = training::read_metric(beside_program("log.jsonl"), term);
    ASSERT_EQ(ours.size(), 6u);
    ASSERT_EQ(theirs.size(), 6u);
    for (size_t k = 0; k < 6; ++k) EXPECT_NEAR(ours[k].second, theirs[k].second, 1e-4 * std::max(0.1, theirs[k].second)) << term << ", step " << k + 1;
  }
}

TEST_F(FitAutoencoder, LearnsAndLeavesAnAutoencoderWithLatentsOfUnitDeviation) {
  AutoencoderFitConfig config = config_of_test();
  config.steps = 80;
  config.optimizer.learning_rate = 4e-3;
  fit("run", config);
  for (const char* term : {"loss_pixel", "loss_gradient"}) EXPECT_LT(curve("run", term).back().second, 0.7 * curve("run", term).front().second) << term;
  const torch::NoGradGuard no_grad;
  diffusion::Autoencoder autoencoder = diffusion::load_autoencoder(folder_ / "run");
  EXPECT_EQ(autoencoder->config().latent_channels, 3);
  EXPECT_EQ(autoencoder->factor(), 2);
  const data::AugmentConfig whole{.resize = 19, .crop = 18};  // measured whole, but for what the factor leaves over
  std::vector<at::Tensor> latents;
  for (const char* domain : {"warm", "cold"}) {
    const data::ShardList list = dataset_->real(domain, "train");
    for (int64_t i = 0; i < 5; ++i) {
      const at::Tensor image = data::load_evaluation(list, i * list.rows() / 5, i * list.rows() / 5 + 1, whole);
      latents.push_back(autoencoder->encode(image.to(at::kFloat) / 127.5 - 1).mode() * autoencoder->config().scaling_factor);
    }
  }
  EXPECT_NEAR(at::cat(latents).std(false).item<double>(), 1, 1e-4);
  EXPECT_TRUE(fs::exists(folder_ / "run" / "samples" / "step-80.png"));
}

TEST_F(FitAutoencoder, KilledAfterACheckpointItEndsWithTheSameWeights) {
  fit("whole");
  world().root_only("copying", [&] {
    fs::create_directories(folder_ / "resumed" / "checkpoints");
    fs::copy(folder_ / "whole" / "checkpoints" / "step-3", folder_ / "resumed" / "checkpoints" / "step-3", fs::copy_options::recursive);
  });
  fit("resumed");
  EXPECT_EQ(bytes("resumed"), bytes("whole"));
  EXPECT_EQ(io::read_file(folder_ / "resumed" / "config.json"), io::read_file(folder_ / "whole" / "config.json"));
}

TEST_F(FitAutoencoder, ADamagedResultIsMadeAgainAndAFinishedOneIsNot) {
  fit("run");
  const auto written = fs::last_write_time(folder_ / "run" / "log.jsonl");
  const std::string good = io::read_file(folder_ / "run" / "config.json");
  fit("run");
  EXPECT_EQ(fs::last_write_time(folder_ / "run" / "log.jsonl"), written);
  world().barrier("before the damage");
  world().root_only("damage", [&] { io::write_file(folder_ / "run" / "config.json", "{}"); });
  fit("run");
  EXPECT_EQ(io::read_file(folder_ / "run" / "config.json"), good);
  AutoencoderFitConfig shorter = config_of_test();
  shorter.steps = 2;
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", shorter), HasSubstr("now it is fit.diffusion.autoencoder.steps = 2"));
}

TEST_F(FitAutoencoder, WorksWithOtherTermsAndInBfloat16) {
  AutoencoderFitConfig config = config_of_test();
  config.steps = 2;
  config.ema = 0;
  config.attention = true;
  config.precision = "bf16";
  config.loss = {.pixel = "huber", .chroma_weight = 0, .kl_weight = 0};
  fit("run", config);
  EXPECT_GT(curve("run", "loss_kl").back().second, 0);  // logged, though without weight
}

TEST_F(FitAutoencoder, RefusesValuesThatDoNotFitEachOther) {
  AutoencoderFitConfig config = config_of_test();
  config.norm_groups = 3;
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", config), HasSubstr("norm_groups = 3 does not divide a level's 4 channels"));
  config = config_of_test();
  config.augment.crop = 17;
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", config), HasSubstr("must be a multiple of 2"));
  config = config_of_test();
  config.extra_split = "more";
  EXPECT_THAT(error_of(core::ExitCode::usage, "run", config), HasSubstr("none of warm, cold has a split \"more\""));
}

}  // namespace
}  // namespace syncdr::fit
