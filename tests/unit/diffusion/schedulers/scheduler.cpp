#include "syncdr/diffusion/scheduler.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <cmath>
#include <fstream>

#include "schedulers/scheduler_numbers.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion::scheduler_tests {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

ConfigReader scheduler_config(const std::string& fields) { return {boost::json::parse("{" + fields + "}").as_object(), "scheduler_config.json"}; }

std::unique_ptr<Scheduler> scheduler(const std::string& name, const std::string& fields = "", const SamplerOptions& options = {}) {
  ConfigReader config = scheduler_config(fields);
  return make_scheduler(name, config, options);
}

template <class Error> std::string scheduler_error(const std::string& name, const std::string& fields, const SamplerOptions& options = {}) {
  try {
    scheduler(name, fields, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "no such error";
}

std::string steps_error(Scheduler& scheduler, int64_t steps) {
  try {
    scheduler.set_steps(steps);
  } catch (const core::UsageError& error) {
    return error.what();
  }
  return "no UsageError";
}

at::Tensor gaussian() { return at::randn({2, 4, 3, 5}); }

/// What a perfect network of this prediction type says of signal * original + std * noise.
at::Tensor perfect(Prediction prediction, const at::Tensor& original, const at::Tensor& noise, double alpha) {
  if (prediction == Prediction::epsilon) return noise;
  return prediction == Prediction::sample ? original : std::sqrt(alpha) * noise - std::sqrt(1 - alpha) * original;
}

constexpr const char* stable = R"("beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": false, "skip_prk_steps": true)";

TEST(Scheduler, TakesTheClassThatTheConfigurationNames) {
  ConfigReader config = scheduler_config(R"("_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.35.2")");
  EXPECT_EQ(make_scheduler(config)->name(), "EulerDiscreteScheduler");
}

TEST(Scheduler, SaysWhichKeyReplacesAClassThatIsNotHere) {
  for (const char* name :
       {"DDPMScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler"}) {
    ConfigReader config = scheduler_config(fmt::format(R"("_class_name": "{}")", name));
    EXPECT_ERROR(make_scheduler(config), core::DataError, fmt::format("\"_class_name\" is \"{}\"", name));
    EXPECT_ERROR(make_scheduler(config), core::DataError,
                 "translate.diffusion.scheduler=DDIMScheduler, or one of DDIMScheduler, DEISMultistepScheduler, DPMSolverMultistepScheduler, Euler");
    EXPECT_EQ(make_scheduler("EulerDiscreteScheduler", config)->name(), "EulerDiscreteScheduler");
  }
  ConfigReader nameless = scheduler_config("");
  EXPECT_ERROR(make_scheduler(nameless), core::DataError, "\"_class_name\" is missing");
}

// DPM++ 2M SDE Karras, as many fine-tuned models have it.
TEST(Scheduler, SaysWhichKeyReplacesASettingThatIsNotHere) {
  for (const char* fields :
       {R"("_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": true)",
        R"("_class_name": "DPMSolverMultistepScheduler", "solver_order": 3)", R"("_class_name": "UniPCMultistepScheduler", "solver_order": 4)",
        R"("_class_name": "HeunDiscreteScheduler", "use_beta_sigmas": true)"}) {
    ConfigReader config = scheduler_config(fields), again = scheduler_config(fields);
    EXPECT_ERROR(make_scheduler(config), core::DataError, "set translate.diffusion.scheduler=DDIMScheduler");
    EXPECT_EQ(make_scheduler("DDIMScheduler", again)->name(), "DDIMScheduler");
  }
  ConfigReader broken = scheduler_config(R"("_class_name": "DDIMScheduler", "beta_schedule": "steep")");
  try {
    make_scheduler(broken);
    ADD_FAILURE() << "made of an unknown schedule";
  } catch (const core::DataError& error) {
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("translate.diffusion.scheduler"))) << "no other class takes it";
  }
}

// diffusers instantiates the class of the index, whatever the configuration was written by.
TEST(Scheduler, OfACheckpointIsOfTheClassThatTheIndexNames) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "scheduler");
  const auto put = [&](const std::string& in_index, const std::string& fields) {
    test::put(folder / "model_index.json", R"({"_class_name": "P", "scheduler": ["diffusers", ")" + in_index + "\"]}");
    test::put(folder / "scheduler/scheduler_config.json", "{" + fields + "}");
    return CheckpointFolder(folder.path());
  };
  EXPECT_EQ(load_scheduler(put("EulerDiscreteScheduler", R"("_class_name": "DDIMScheduler")"))->name(), "EulerDiscreteScheduler");
  EXPECT_EQ(load_scheduler(put("EulerDiscreteScheduler", ""))->name(), "EulerDiscreteScheduler");
  EXPECT_EQ(load_scheduler(put("DDPMScheduler", ""), "PNDMScheduler")->name(), "PNDMScheduler");
  EXPECT_ERROR(load_scheduler(put("DDPMScheduler", "")), core::DataError, "DDPMScheduler");
}

TEST(Scheduler, TakesFieldsThatWereWrittenWithDefaultsForMissing) {
  const TemporaryFolder folder;
  test::put(folder / "scheduler_config.json",
            R"({"_class_name": "DDIMScheduler", "timestep_spacing": "linspace", "steps_offset": 1, "_use_default_values": ["timestep_spacing"]})");
  EXPECT_EQ(load_scheduler(folder.path())->spacing(), "leading");
}

TEST(Scheduler, TakesOverWhatAConfigurationOfAnotherClassSays) {
  ConfigReader config = scheduler_config(R"("_class_name": "UniPCMultistepScheduler", "prediction_type": "v_prediction", "timestep_spacing": "leading",
      "steps_offset": 1, "num_train_timesteps": 400, "solver_type": "bh2", "shift_terminal": null, "sigma_min": null)");
  const auto ddim = make_scheduler("DDIMScheduler", config);
  ddim->set_steps(4);
  EXPECT_EQ(ddim->prediction(), Prediction::v_prediction);
  EXPECT_THAT(ddim->timesteps(), ElementsAre(301, 201, 101, 1));
}

TEST(Scheduler, RefusesAClassWithAnotherKindOfTraining) {
  ConfigReader flow = scheduler_config(R"("_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000)");
  EXPECT_ERROR(make_scheduler("DDIMScheduler", flow), core::DataError, "FlowMatchEulerDiscreteScheduler");
  ConfigReader edm = scheduler_config(R"("_class_name": "EDMEulerScheduler", "sigma_data": 0.5, "rho": 7.0)");
  EXPECT_ERROR(make_scheduler("DDIMScheduler", edm), core::DataError, "EDMEulerScheduler");
  EXPECT_THAT(scheduler_error<core::UsageError>("ddim", ""), AllOf(HasSubstr("\"ddim\""), HasSubstr("DDIMScheduler"), HasSubstr("PNDMScheduler")));
}

TEST(Scheduler, PassesOverFieldsOfOtherClassesAndRefusesUnknownOnes) {
  EXPECT_EQ(scheduler("PNDMScheduler", R"("clip_sample": false, "use_karras_sigmas": true)")->name(), "PNDMScheduler");
  EXPECT_THAT(scheduler_error<core::DataError>("PNDMScheduler", R"("clip_samples": false)"), HasSubstr("clip_samples"));
}

TEST(Scheduler, RefusesFieldsItCannotHonour) {
  const auto error = [](const char* name, const char* fields) { return scheduler_error<core::DataError>(name, fields); };
  EXPECT_THAT(error("DDIMScheduler", R"("thresholding": true)"), HasSubstr("thresholding"));
  EXPECT_THAT(error("DDIMScheduler", R"("prediction_type": "flow_prediction")"), AllOf(HasSubstr("flow_prediction"), HasSubstr("v_prediction")));
  EXPECT_THAT(error("EulerAncestralDiscreteScheduler", R"("prediction_type": "sample")"), HasSubstr("\"sample\""));
  EXPECT_THAT(error("DDIMInverseScheduler", R"("timestep_spacing": "linspace")"), HasSubstr("timestep_spacing"));
  EXPECT_THAT(error("PNDMScheduler", R"("beta_schedule": "sigmoid")"), HasSubstr("sigmoid"));
  EXPECT_THAT(error("LMSDiscreteScheduler", R"("use_beta_sigmas": true)"), HasSubstr("use_beta_sigmas"));
  EXPECT_THAT(error("LMSDiscreteScheduler", R"("use_karras_sigmas": true, "use_exponential_sigmas": true)"), HasSubstr("both"));
  EXPECT_THAT(error("EulerDiscreteScheduler", R"("timestep_type": "continuous")"), HasSubstr("continuous"));
  EXPECT_THAT(error("DPMSolverMultistepScheduler", R"("algorithm_type": "sde-dpmsolver++")"), HasSubstr("sde-dpmsolver++"));
  EXPECT_THAT(error("DPMSolverMultistepScheduler", R"("solver_order": 3)"), HasSubstr("solver_order"));
  EXPECT_THAT(error("DPMSolverMultistepScheduler", R"("variance_type": "learned_range")"), HasSubstr("learned_range"));
  EXPECT_THAT(error("UniPCMultistepScheduler", R"("solver_order": 4)"), HasSubstr("solver_order"));
  EXPECT_THAT(error("UniPCMultistepScheduler", R"("solver_p": {"_class_name": "DDIMScheduler"})"), HasSubstr("solver_p"));
  EXPECT_THAT(error("UniPCMultistepScheduler", R"("use_flow_sigmas": true)"), HasSubstr("use_flow_sigmas"));
  EXPECT_THAT(error("UniPCMultistepScheduler", R"("predict_x0": false)"), AllOf(HasSubstr("predict_x0"), HasSubstr("final_sigmas_type")));
  EXPECT_THAT(error("UniPCMultistepScheduler", R"("lower_order_final": false)"), AllOf(HasSubstr("lower_order_final"), HasSubstr("final_sigmas_type")));
  EXPECT_THAT(error("DEISMultistepScheduler", R"("solver_order": 4)"), HasSubstr("solver_order"));
  EXPECT_THAT(error("DEISMultistepScheduler", R"("algorithm_type": "sde-dpmsolver++")"), HasSubstr("sde-dpmsolver++"));
  EXPECT_THAT(error("HeunDiscreteScheduler", R"("beta_schedule": "exp")"), HasSubstr("beta_schedule"));
  EXPECT_THAT(error("LCMScheduler", R"("thresholding": true)"), HasSubstr("thresholding"));
  EXPECT_THAT(error("LCMScheduler", R"("original_inference_steps": 1001)"), HasSubstr("original_inference_steps"));
  EXPECT_THAT(error("TCDScheduler", R"("original_inference_steps": 0)"), HasSubstr("original_inference_steps"));
}

TEST(Scheduler, RefusesTrainingSchedulesThatMakeNoSense) {
  const auto error = [](const char* fields) { return scheduler_error<core::DataError>("DDIMScheduler", fields); };
  EXPECT_THAT(error(R"("num_train_timesteps": 1)"), HasSubstr("num_train_timesteps"));
  EXPECT_THAT(error(R"("num_train_timesteps": 1000000000000)"), HasSubstr("num_train_timesteps"));
  EXPECT_THAT(error(R"("beta_end": 1.5)"), HasSubstr("beta_end"));
  EXPECT_THAT(error(R"("trained_betas": [0.1, 0.2])"), HasSubstr("has 2 numbers"));
  EXPECT_THAT(error(R"("num_train_timesteps": 2, "trained_betas": [0.1, "x"])"), HasSubstr("trained_betas"));
  EXPECT_THAT(error(R"("steps_offset": -1)"), HasSubstr("steps_offset"));
}

TEST(Scheduler, RefusesMoreStepsThanTraining) {
  for (const std::string& name : scheduler_names()) {
    EXPECT_THAT(steps_error(*scheduler(name, stable), 1001), HasSubstr("1001 steps")) << name;
    EXPECT_THAT(steps_error(*scheduler(name, stable), 0), HasSubstr("0 steps")) << name;
  }
}

TEST(Scheduler, RefusesStepsWithoutValidTimesteps) {
  EXPECT_THAT(steps_error(*scheduler("DDIMScheduler", R"("steps_offset": 1)"), 1000), HasSubstr("timestep 1000"));
  EXPECT_THAT(steps_error(*scheduler("DDIMScheduler", R"("timestep_spacing": "trailing")"), 61), HasSubstr("below 0"));
  EXPECT_THAT(steps_error(*scheduler("PNDMScheduler", ""), 3), HasSubstr("at least 4"));
  EXPECT_THAT(steps_error(*scheduler("DPMSolverMultistepScheduler", ""), 1000), HasSubstr("one timestep"));
}

// diffusers 0.42.1, image to image with 4 steps at strength 0.5: the plain pipeline passes no strength on, the LCM one does.
TEST(Scheduler, CutsTheGridOfConsistencyModelsInBothWays) {
  for (const char* name : {"LCMScheduler", "TCDScheduler"}) {
    const auto sampler = scheduler(name, stable);
    sampler->set_steps(4);
    EXPECT_THAT(sampler->timesteps(), ElementsAre(999, 759, 499, 259)) << name;
    EXPECT_EQ(sampler->start_index(0.5), 2);
    sampler->set_steps(4, 0.5);
    EXPECT_THAT(sampler->timesteps(), ElementsAre(499, 379, 259, 139)) << name;
    EXPECT_EQ(sampler->start_index(1), 0);
    EXPECT_THROW(sampler->set_steps(4, 0), core::UsageError);
    EXPECT_ERROR(sampler->set_steps(51), core::UsageError, "\"original_inference_steps\": 50 leaves 50");
    EXPECT_ERROR(sampler->set_steps(4, 0.06), core::UsageError, "higher strength");
  }
  EXPECT_ERROR(scheduler("DDIMScheduler", stable)->set_steps(4, 0.5), core::UsageError, "LCMScheduler");
}

TEST(Scheduler, CountsHeunsCallsInSteps) {
  const auto heun = scheduler("HeunDiscreteScheduler", std::string(stable) + R"(, "timestep_spacing": "trailing")");
  heun->set_steps(4);
  EXPECT_THAT(heun->timesteps(), ElementsAre(999, 749, 749, 499, 499, 249, 249));
  EXPECT_EQ(heun->start_index(0.5), 4);
}

TEST(Scheduler, TakesAnotherSpacingThanTheConfigurations) {
  const auto ddim = scheduler("DDIMScheduler", std::string(stable) + R"(, "timestep_spacing": "leading")", {.spacing = "trailing"});
  ddim->set_steps(4);
  EXPECT_THAT(ddim->timesteps(), ElementsAre(999, 749, 499, 249));
  EXPECT_THAT(scheduler_error<core::DataError>("DDIMScheduler", "", {.spacing = "even"}), HasSubstr("timestep_spacing"));
  EXPECT_THAT(scheduler_error<core::UsageError>("LCMScheduler", "", {.spacing = "trailing"}), HasSubstr("a grid of its own"));
}

// The original makes NaN of it (0 times infinity), of its own default "final_sigmas_type" and the "bh1" that it recommends for few steps.
TEST(Scheduler, UniPcOfTheFirstKindEndsAtTheOriginal) {
  const auto unipc = scheduler("UniPCMultistepScheduler", std::string(stable) + R"(, "solver_type": "bh1")");
  unipc->set_steps(5);
  const at::Tensor original = gaussian(), noise = gaussian();
  at::Tensor sample = unipc->noise_to_step(original, noise, 0);
  for (int64_t i = 0; i < 5; ++i) sample = unipc->step(noise, i, sample);
  EXPECT_TRUE(at::allclose(sample, original, 1e-3, 1e-4));
}

TEST(Scheduler, RefusesEtaWhereItHasNoUse) {
  EXPECT_THAT(scheduler_error<core::UsageError>("PNDMScheduler", "", {.eta = 0.5}), HasSubstr("eta"));
  EXPECT_THAT(scheduler_error<core::UsageError>("DDIMScheduler", "", {.eta = -1}), HasSubstr("eta"));
}

TEST(Scheduler, BeginsImageToImageWhereStrengthSays) {
  const auto pndm = scheduler("PNDMScheduler", stable);
  pndm->set_steps(50);
  EXPECT_EQ(pndm->timesteps().size(), 51u);
  EXPECT_EQ(pndm->start_index(1), 0);
  EXPECT_EQ(pndm->start_index(0.99), 1);
  EXPECT_EQ(pndm->start_index(0.5), 25);
  EXPECT_EQ(pndm->start_index(0.3), 35);
  EXPECT_THROW(pndm->start_index(0), core::UsageError);
  EXPECT_THROW(pndm->start_index(1.1), core::UsageError);
  const auto ddim = scheduler("DDIMScheduler", stable);
  ddim->set_steps(50);
  EXPECT_THROW(ddim->start_index(0.01), core::UsageError);
}

// Its class's default: the Runge-Kutta calls are told apart by their count, and would be of other times than they are for.
TEST(Scheduler, RungeKuttaStepsBeginWithTheFirst) {
  const auto pndm = scheduler("PNDMScheduler");
  pndm->set_steps(50);
  EXPECT_EQ(pndm->start_index(1), 0);
  for (const double strength : {0.02, 0.3, 0.99}) {
    EXPECT_ERROR(pndm->start_index(strength), core::UsageError, "set \"skip_prk_steps\": true");
    EXPECT_ERROR(pndm->start_index(strength), core::UsageError, "translate.diffusion.scheduler=DDIMScheduler");
  }
}

TEST(Scheduler, ReadsTheInfinityThatDiffusersWrites) {
  const auto folder = std::filesystem::path(testing::TempDir()) / fmt::format("syncdr-scheduler-{}", ::getpid());
  std::filesystem::create_directories(folder);
  const std::string blanks(500'000, ' ');  // no pattern may need stack for each
  std::ofstream(folder / "scheduler_config.json") << R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped" :)" << blanks << "-Infinity}";
  const auto loaded = load_scheduler(folder);
  std::filesystem::remove_all(folder);
  loaded->set_steps(2);
  EXPECT_THAT(loaded->timesteps(), ElementsAre(999, 500));
}

TEST(Scheduler, SpacesTimestepsAsThePaperDoes) {
  EXPECT_THAT(spaced_times("leading", 1000, 4, 1), ElementsAre(751, 501, 251, 1));
  EXPECT_THAT(spaced_times("trailing", 1000, 4, 1), ElementsAre(999, 749, 499, 249));
  EXPECT_THAT(spaced_times("linspace", 1000, 4, 1), ElementsAre(999, 666, 333, 0));
}

// A network that knows the noise leads every sampler that draws none from noise back to the original, or to what DEIS and TCD end at, time 0.
TEST(Scheduler, PerfectPredictionsLeadBackToTheOriginal) {
  for (const std::string& name : scheduler_names()) {
    if (name == "DDIMInverseScheduler" || scheduler(name)->wants_noise()) continue;
    const bool ends_at_time_0 = name == "DEISMultistepScheduler" || name == "TCDScheduler";
    for (const int64_t steps : {1, 5, 20}) {
      const auto sampler = scheduler(name, std::string(stable) + R"(, "set_alpha_to_one": true, "timestep_spacing": "trailing")");
      sampler->set_steps(steps);
      const at::Tensor original = gaussian(), noise = gaussian();
      at::Tensor sample = sampler->noise_to_step(original, noise, 0);
      for (int64_t i = 0; i < int64_t(sampler->timesteps().size()); ++i) sample = sampler->step(noise, i, sample);
      const at::Tensor end = ends_at_time_0 ? sampler->add_noise(original, noise, at::zeros({2}, at::kLong)) : original;
      EXPECT_TRUE(at::allclose(sample, end, 1e-3, 1e-4)) << name << " " << steps;
    }
  }
}

TEST(Scheduler, OneStepOfDdimWithThePerfectOutputGivesTheOriginal) {
  for (const char* prediction : {"epsilon", "v_prediction", "sample"}) {
    const auto ddim = scheduler("DDIMScheduler", fmt::format(R"({}, "timestep_spacing": "trailing", "prediction_type": "{}")", stable, prediction));
    ddim->set_steps(1);
    const at::Tensor original = gaussian(), noise = gaussian();
    const double alpha = ddim->alphas_cumprod()[size_t(ddim->timesteps()[0])];
    const at::Tensor output = perfect(ddim->prediction(), original, noise, alpha);
    EXPECT_TRUE(at::allclose(ddim->step(output, 0, ddim->noise_to_step(original, noise, 0)), original, 1e-4, 1e-4)) << prediction;
  }
}

TEST(Scheduler, InversionThenDdimGoesBack) {
  const auto forward = scheduler("DDIMScheduler", stable), inverse = scheduler("DDIMInverseScheduler", stable);
  constexpr int64_t steps = 20;
  forward->set_steps(steps);
  inverse->set_steps(steps);
  const at::Tensor original = gaussian(), outputs = at::randn({steps, 2, 4, 3, 5});
  at::Tensor sample = original;
  for (int64_t i = 0; i < steps; ++i) sample = inverse->step(outputs[i], i, sample);
  EXPECT_GT((sample - original).abs().max().item<double>(), 1);
  for (int64_t i = 0; i < steps; ++i) {
    EXPECT_EQ(forward->timesteps()[size_t(i)], inverse->timesteps()[size_t(steps - 1 - i)]);
    sample = forward->step(outputs[steps - 1 - i], i, sample);
  }
  EXPECT_TRUE(at::allclose(sample, original, 1e-3, 1e-4));
}

TEST(Scheduler, ResetForgetsTheLastTrajectory) {
  for (const std::string& name : scheduler_names()) {
    const auto sampler = scheduler(name, stable);
    sampler->set_steps(6);
    const at::Tensor start = gaussian(), outputs = at::randn({12, 2, 4, 3, 5});
    const auto trajectory = [&] {
      at::Tensor sample = start;
      for (int64_t i = 0; i < int64_t(sampler->timesteps().size()); ++i) sample = sampler->step(outputs[i], i, sample, outputs[i]);
      return sample;
    };
    const at::Tensor first = trajectory();
    sampler->reset();
    EXPECT_TRUE(at::equal(trajectory(), first)) << name;
  }
}

TEST(Scheduler, AncestralStepsEndWithoutNoise) {
  const auto sampler = scheduler("EulerAncestralDiscreteScheduler", stable);
  sampler->set_steps(1);
  ASSERT_TRUE(sampler->wants_noise());
  const at::Tensor original = gaussian(), noise = gaussian();
  const at::Tensor sample = sampler->step(noise, 0, sampler->noise_to_step(original, noise, 0), gaussian());
  EXPECT_TRUE(at::allclose(sample, original, 1e-3, 1e-4));
}

TEST(Scheduler, DdimWithoutEtaWantsNoNoise) {
  EXPECT_FALSE(scheduler("DDIMScheduler")->wants_noise());
  EXPECT_TRUE(scheduler("DDIMScheduler", "", {.eta = 1})->wants_noise());
}

TEST(Scheduler, VelocityAndNoisedSampleTogetherGiveTheOriginal) {
  const auto ddim = scheduler("DDIMScheduler", stable);
  const at::Tensor original = gaussian(), noise = gaussian(), times = at::tensor({3, 700}, at::kLong);
  const at::Tensor noised = ddim->add_noise(original, noise, times), velocity = ddim->velocity(original, noise, times);
  for (const int64_t row : {0, 1}) {
    const double alpha = ddim->alphas_cumprod()[size_t(times[row].item<int64_t>())];
    EXPECT_TRUE(at::allclose(std::sqrt(alpha) * noised[row] - std::sqrt(1 - alpha) * velocity[row], original[row], 1e-4, 1e-5));
  }
}

TEST(Scheduler, KeepsTheDtypeOfTheNetwork) {
  for (const std::string& name : scheduler_names()) {
    const auto sampler = scheduler(name, stable);
    sampler->set_steps(3);
    const at::Tensor sample = gaussian().to(at::kBFloat16), noise = gaussian().to(at::kBFloat16);
    at::Tensor next = sampler->scale_model_input(sample, 0);
    EXPECT_EQ(next.scalar_type(), at::kBFloat16) << name;
    for (int64_t i = 0; i < 3; ++i) next = sampler->step(noise, i, next, noise);
    EXPECT_EQ(next.scalar_type(), at::kBFloat16) << name;
  }
}

}  // namespace
}  // namespace syncdr::diffusion::scheduler_tests
