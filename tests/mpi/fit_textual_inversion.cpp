// ranks: 1 2
// rooms: fit
// after: mpi.fit_textual_inversion.1
// With one rank it writes the losses that the runs with more ranks compare with, beside the program.
#include <gmock/gmock.h>

#include "fit_case.h"
#include "syncdr/diffusion/learned_tokens.h"
#include "syncdr/fit/diffusion.h"
#include "syncdr/fit/textual_inversion.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/training/metric_log.h"
#include "tiny_dataset_test.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;
using test::world;
using testing::HasSubstr;
using training::Curve;

fs::path beside_program(const std::string& name) { return test::beside_program("mpi_fit_textual_inversion", name); }

class FitTextualInversion : public test::TinyDatasetTest {
 protected:
  FitTextualInversion() : TinyDatasetTest({.first = 9, .second = 13, .side = 20}) {}

  /// 6 steps of 5 images, 9 and 13 of each domain.
  TextualInversionConfig config_for(const std::string& layout) {
    const bool there = fs::exists(folder_ / layout);
    world().barrier("all have looked");
    if (!there) fit_diffusion({world(), *dataset_, {"warm", "cold"}, 5, folder_ / layout}, small_model(layout));
    world().barrier("there is a model");
    TextualInversionConfig config;
    config.from = (folder_ / layout / "checkpoint").string();
    config.domains = {"cold"};
    config.initial = {"ice"};
    config.vectors = 3;
    config.templates = {"a {}", "the {} look", "{}"};
    config.steps = 6;
    config.batch = 5;
    config.optimizer.learning_rate = 1e-3;
    config.augment = {.resize = 18, .crop = 16};
    config.log_every = 1;
    config.sample_every = 4;
    config.checkpoint_every = 3;
    return config;
  }
  void fit(const std::string& out, const TextualInversionConfig& config) {
    fit_textual_inversion({world(), *dataset_, {"warm", "cold"}, 5, folder_ / out}, config);
    world().barrier("a fit is over");
  }
  std::string error_of(core::ExitCode code, const TextualInversionConfig& config, const std::string& out = "refused") {
    return TinyDatasetTest::error_of(code, [&] { fit(out, config); });
  }
  Curve curve(const std::string& out, const std::string& domain = "cold") const { return training::read_metric(folder_ / out / domain / "log.jsonl", "loss"); }
  std::string bytes(const std::string& out) const { return io::read_file(folder_ / out / "cold" / learned_file); }
};

TEST_F(FitTextualInversion, LossesOfAnyNumberOfRanksAreThoseOfOne) {
  if (world().size() == 1) {
    fs::remove_all(beside_program(""));
    fs::create_directories(beside_program(""));
  }
  for (const char* layout : {"text", "instruct"}) {
    fit("run", config_for(layout));
    ASSERT_EQ(curve("run").size(), 6u);
    const fs::path reference = beside_program(std::string(layout) + ".jsonl");
    if (world().size() == 1) fs::copy(folder_ / "run" / "cold" / "log.jsonl", reference);
    ASSERT_TRUE(fs::exists(reference)) << "run this program with one rank first";
    expect_same(curve("run"), training::read_metric(reference, "loss"));
    world().barrier("all have read");
    world().root_only("making room", [&] { fs::remove_all(folder_ / "run"); });
  }
}

TEST_F(FitTextualInversion, LearnsItsVectorsAndLeavesThemWithSamples) {
  TextualInversionConfig config = config_for("text");
  config.steps = 60;
  config.sample_every = 30;
  config.optimizer.learning_rate = 0.05;
  config.drop_condition = 0;
  fit("run", config);
  const auto tokens = diffusion::read_learned_tokens(folder_ / "run" / "cold" / learned_file);
  ASSERT_EQ(tokens.size(), 1U);
  EXPECT_EQ(tokens[0].name, "<cold>");
  EXPECT_EQ(tokens[0].vectors.sizes(), (std::vector<int64_t>{3, 16}));
  for (const char* sheet : {"step-30.png", "step-60.png"}) EXPECT_TRUE(fs::exists(folder_ / "run" / "cold" / "samples" / sheet)) << sheet;
  const Curve loss = curve("run");
  double first = 0, last = 0;
  for (size_t k = 0; k < 20; ++k) first += loss[k].second, last += loss[loss.size() - 1 - k].second;
  EXPECT_LT(last, first);
  EXPECT_FALSE(fs::exists(folder_ / "run" / "warm"));
}

TEST_F(FitTextualInversion, BeginsAsItsInitialTokensOrAsTheOneThatThereIs) {
  TextualInversionConfig config = config_for("text");
  config.steps = 1;
  config.optimizer.learning_rate = 1e-9;
  fit("three", config);
  config.initial = {"i"};
  fit("one", config);
  const diffusion::CheckpointFolder checkpoint(config.from);
  const auto tokenizer = diffusion::load_tokenizer(checkpoint);
  const at::Tensor table = diffusion::load_text_encoder(checkpoint)->token_table();
  const auto expect = [&](const std::string& run, const std::vector<int64_t>& ids) {
    const at::Tensor vectors = diffusion::read_learned_tokens(folder_ / run / "cold" / learned_file)[0].vectors;
    for (size_t i = 0; i < ids.size(); ++i) EXPECT_TRUE(at::allclose(vectors[static_cast<int64_t>(i)], table[ids[i]], 1e-6, 1e-7)) << run << " " << i;
  };
  expect("three", tokenizer.ids("ice"));
  const int64_t i = tokenizer.ids("i")[0];
  expect("one", {i, i, i});
}

TEST_F(FitTextualInversion, KilledAfterACheckpointItEndsWithTheSameToken) {
  TextualInversionConfig config = config_for("instruct");
  config.views = 2;  // what was kept in memory is gone, too
  fit("whole", config);
  world().root_only("copying", [&] {
    fs::create_directories(folder_ / "resumed" / "cold" / "checkpoints");
    fs::copy(folder_ / "whole" / "cold" / "checkpoints" / "step-3", folder_ / "resumed" / "cold" / "checkpoints" / "step-3", fs::copy_options::recursive);
    fs::copy(folder_ / "whole" / "cold" / "log.jsonl", folder_ / "resumed" / "cold" / "log.jsonl");
  });
  fit("resumed", config);
  EXPECT_EQ(bytes("resumed"), bytes("whole"));
  EXPECT_EQ(curve("resumed"), curve("whole"));
}

TEST_F(FitTextualInversion, EachDomainsTokenIsWhatItIsAlone) {
  TextualInversionConfig config = config_for("text");
  fit("alone", config);
  config.domains = {};
  config.initial = {"sun", "ice"};
  fit("both", config);
  EXPECT_EQ(bytes("both"), bytes("alone"));
  EXPECT_EQ(diffusion::read_learned_tokens(folder_ / "both" / "warm" / learned_file)[0].name, "<warm>");
  const auto written = fs::last_write_time(folder_ / "alone" / "cold" / learned_file);
  fit("alone", config);  // one more domain: the first one's is done
  EXPECT_EQ(fs::last_write_time(folder_ / "alone" / "cold" / learned_file), written);
  EXPECT_EQ(curve("alone", "warm"), curve("both", "warm"));
  config.tokens = {"<warm>", "<frost>"};
  EXPECT_THAT(error_of(core::ExitCode::usage, config, "alone"), HasSubstr("was made with training = textual inversion of cold as <cold>"));
  config.tokens = {};
  config.steps = 1;
  EXPECT_THAT(error_of(core::ExitCode::usage, config, "alone"), HasSubstr("now it is fit.textual_inversion.steps = 1"));
}

TEST_F(FitTextualInversion, InBfloat16LossesAreNearly) {
  TextualInversionConfig config = config_for("instruct");
  config.precision = "bf16";
  fit("run", config);
  const double exact = training::read_metric(beside_program("instruct.jsonl"), "loss").front().second, rounded = curve("run").front().second;
  EXPECT_NEAR(rounded, exact, 0.05 * exact);
  EXPECT_NE(rounded, exact) << "it is not bfloat16";
}

TEST_F(FitTextualInversion, RefusesWhatDoesNotFit) {
  const TextualInversionConfig good = config_for("text");
  const auto refused = [&](const std::function<void(TextualInversionConfig&)>& change, core::ExitCode code = core::ExitCode::usage) {
    TextualInversionConfig config = good;
    change(config);
    return error_of(code, config);
  };
  EXPECT_THAT(refused([](auto& config) { config.from.clear(); }), HasSubstr("fit.textual_inversion.from names no checkpoint"));
  EXPECT_THAT(refused([](auto& config) { config.from = "/nowhere"; }, core::ExitCode::bad_data), HasSubstr("/nowhere"));
  EXPECT_THAT(refused([](auto& config) { config.domains = {"art"}; }), HasSubstr("\"art\" is none of warm, cold"));
  EXPECT_THAT(refused([](auto& config) { config.domains = {"cold", "cold"}; }), HasSubstr("names one twice"));
  EXPECT_THAT(refused([](auto& config) { config.initial = {}; }), HasSubstr("say what the token for cold begins as"));
  EXPECT_THAT(refused([](auto& config) { config.domains = {}; }), HasSubstr("initial has 1 entries for 2 domains (warm, cold)"));
  EXPECT_THAT(refused([](auto& config) { config.initial = {"frost"}; }), HasSubstr("\"frost\" is 5 tokens (f, r, o, s, t)"));
  EXPECT_THAT(refused([](auto& config) { config.tokens = {""}; }), HasSubstr("tokens: the name for cold is empty"));
  EXPECT_THAT(refused([](auto& config) { config.tokens = {"a</w>"}; }), HasSubstr("\"a</w>\" is a token already"));
  EXPECT_THAT(refused([](auto& config) { config.domains = {}, config.initial = {"sun", "ice"}, config.tokens = {"<x>", "<x>"}; }),
              HasSubstr("stands for two domains"));
  EXPECT_THAT(refused([](auto& config) { config.templates = {"a picture"}; }), HasSubstr("\"a picture\" needs one {}"));
  EXPECT_THAT(refused([](auto& config) { config.templates = {"{} and {}"}; }), HasSubstr("needs one {}"));
  EXPECT_THAT(refused([](auto& config) { config.templates = {}; }), HasSubstr("leaves no room for the 3 vectors of <cold>: the text encoder reads 18 tokens"));
  EXPECT_THAT(refused([](auto& config) { config.batch = 14; }),
              HasSubstr("domain cold has 13 training images, fewer than a batch of 14: lower fit.textual_inversion.batch"));
  EXPECT_THAT(refused([](auto& config) { config.sigmas = {2, 1}; }), HasSubstr("fit.textual_inversion.sigmas"));
  EXPECT_THAT(refused([](auto& config) { config.augment.crop = 17; }),
              HasSubstr("fit.textual_inversion.augment.crop = 17: the autoencoder needs a multiple of 2"));
  EXPECT_FALSE(fs::exists(folder_ / "refused"));
}

}  // namespace
}  // namespace syncdr::fit
