#include "syncdr/diffusion/sampling.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <torch/utils.h>
#include <boost/json/parse.hpp>

#include <thread>

#include "diffusion/tiny_checkpoint.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion::sampling_tests {
namespace {

std::unique_ptr<Scheduler> planned(const std::string& name, int64_t steps) {
  ConfigReader config(boost::json::parse(R"({"beta_schedule": "scaled_linear", "clip_sample": false})").as_object(), "scheduler");
  std::unique_ptr<Scheduler> scheduler = make_scheduler(name, config);
  scheduler->set_steps(steps);
  return scheduler;
}

class Sampling : public testing::Test {
 protected:
  Sampling() { torch::manual_seed(2); }

  TextContext text(int64_t batch = 1) { return unet_->prepare(at::randn({batch, 7, 6})); }

  torch::NoGradGuard no_grad_;
  UNet unet_ = TinyCheckpoint::make_unet();
  UNet instruct_ = TinyCheckpoint::make_unet(8);
};

/// The loop as it is written down in papers: one call a branch, nothing prepared.
at::Tensor plainly(UNet& unet, const std::vector<Branch>& branches, Scheduler& scheduler, at::Tensor sample) {
  for (int64_t i = 0; i < int64_t(scheduler.timesteps().size()); ++i) {
    at::Tensor sum = at::zeros_like(sample);
    for (const Branch& branch : branches) {
      at::Tensor input = scheduler.scale_model_input(sample, i);
      if (branch.image.defined()) input = at::cat({input, branch.image}, 1);
      sum = sum + branch.weight * unet->forward(input, scheduler.timesteps()[size_t(i)], TextContext(branch.text.text));
    }
    sample = scheduler.step(sum, i, sample);
  }
  return sample;
}

bool near(const at::Tensor& a, const at::Tensor& b) { return at::allclose(a, b, 1e-4, 1e-4); }

TEST_F(Sampling, AllBranchesInOneCallEqualOneCallEach) {
  const at::Tensor sample = at::randn({3, 4, 6, 5});
  const auto scheduler = planned("PNDMScheduler", 5);
  for (const std::vector<Branch>& guidance : {text_guidance(text(3), text(), 7.5), text_guidance(text(), text(), 3), text_guidance(text(), text(), 1)}) {
    const at::Tensor result = denoise(unet_, guidance, *scheduler, sample);
    scheduler->reset();
    EXPECT_TRUE(near(result, plainly(unet_, guidance, *scheduler, sample))) << guidance.size() << " branches";
  }
}

TEST_F(Sampling, ImageLatentsLieBehindTheSample) {
  const at::Tensor sample = at::randn({2, 4, 6, 5}), image = at::randn({2, 4, 6, 5});
  const auto scheduler = planned("EulerDiscreteScheduler", 4);
  const TextContext text = instruct_->prepare(at::randn({2, 7, 6})), negative = instruct_->prepare(at::randn({1, 7, 6}));
  const std::vector<Branch> guidance = instruct_guidance(text, negative, image, 7.5, 1.5);
  EXPECT_TRUE(near(denoise(instruct_, guidance, *scheduler, sample), plainly(instruct_, guidance, *scheduler, sample)));
}

TEST_F(Sampling, InstructGuidanceIsTheSumOfThreeAndLeavesOutZeros) {
  const at::Tensor image = at::randn({1, 4, 6, 5});
  const std::vector<Branch> all = instruct_guidance(text(), text(), image, 10, 1.25);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].weight, 10);
  EXPECT_EQ(all[1].weight, -8.75);
  EXPECT_EQ(all[2].weight, -0.25);
  EXPECT_TRUE(at::equal(all[1].image, image));
  EXPECT_EQ(all[2].image.abs().max().item<float>(), 0);
  EXPECT_EQ(instruct_guidance(text(), text(), image, 1, 1).size(), 1u);
  EXPECT_EQ(instruct_guidance(text(), text(), image, 2, 2).size(), 2u);
  EXPECT_EQ(text_guidance(text(), text(), 0.5).size(), 1u) << "as diffusers: no guidance";
}

TEST_F(Sampling, ADistilledNetworkIsToldTheScaleInOneBranch) {
  const std::vector<Branch> told = text_guidance(text(), text(), 7.5, /*distilled=*/true);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].told, 7.5);
  EXPECT_EQ(told[0].weight, 1);
  EXPECT_ERROR(denoise(unet_, told, *planned("DDIMScheduler", 2), at::randn({1, 4, 6, 5})), core::UsageError, "only a network distilled under guidance");
}

TEST_F(Sampling, AnImageAloneIsTheSameAsAmongOthers) {
  const at::Tensor sample = at::randn({3, 4, 6, 5});
  const TextContext texts = text(3), negative = text();
  const auto scheduler = planned("DDIMScheduler", 5);
  const at::Tensor together = denoise(unet_, text_guidance(texts, negative, 5), *scheduler, sample);
  const TextContext second = unet_->prepare(texts.text.narrow(0, 1, 1));
  const at::Tensor alone = denoise(unet_, text_guidance(second, negative, 5), *scheduler, sample.narrow(0, 1, 1));
  EXPECT_TRUE(near(alone[0], together[1]));
}

TEST_F(Sampling, ForgetsTheLastTrajectoryAndGoesOnWhereItStopped) {
  const at::Tensor sample = at::randn({1, 4, 6, 5});
  const std::vector<Branch> guidance = text_guidance(text(), text(), 5);
  const auto pndm = planned("PNDMScheduler", 6), ddim = planned("DDIMScheduler", 6);
  const at::Tensor first = denoise(unet_, guidance, *pndm, sample);
  EXPECT_TRUE(at::equal(denoise(unet_, guidance, *pndm, sample), first));
  const at::Tensor whole = denoise(unet_, guidance, *ddim, sample), half = denoise(unet_, guidance, *ddim, sample, {.last = 3});
  EXPECT_TRUE(at::equal(denoise(unet_, guidance, *ddim, half, {.first = 3}), whole));
  EXPECT_TRUE(at::equal(denoise(unet_, guidance, *ddim, sample, {.first = 2, .last = 2}), sample)) << "no call, no change";
}

TEST_F(Sampling, AsksForNoiseAtEachCallThatWantsIt) {
  const auto scheduler = planned("EulerAncestralDiscreteScheduler", 4);
  std::vector<int64_t> asked;
  const StepNoise noise = [&](int64_t i) {
    asked.push_back(i);
    return at::randn({1, 4, 6, 5});
  };
  denoise(unet_, text_guidance(text(), text(), 5), *scheduler, at::randn({1, 4, 6, 5}), {.first = 1, .noise = noise});
  EXPECT_EQ(asked, (std::vector<int64_t>{1, 2, 3}));
}

TEST_F(Sampling, SamplesStayInFloat32WhereTheNetworkIsNot) {
  const at::Tensor sample = at::randn({2, 4, 6, 5}), hidden = at::randn({1, 7, 6});
  const auto scheduler = planned("DDIMScheduler", 3);
  const at::Tensor exact = denoise(unet_, text_guidance(unet_->prepare(hidden), hidden, 3), *scheduler, sample);
  unet_->to(at::kBFloat16);
  const TextContext rounded = unet_->prepare(hidden.to(at::kBFloat16));
  const at::Tensor result = denoise(unet_, text_guidance(rounded, rounded, 3), *scheduler, sample);
  EXPECT_EQ(result.scalar_type(), at::kFloat);
  EXPECT_LT((result - exact).norm().item<float>() / exact.norm().item<float>(), 0.05);
}

TEST_F(Sampling, ShapesThatDoNotFitAreUsageErrors) {
  const auto scheduler = planned("DDIMScheduler", 2);
  const at::Tensor sample = at::randn({2, 4, 6, 5});
  EXPECT_ERROR(denoise(unet_, text_guidance(text(3), text(), 1), *scheduler, sample), core::UsageError, "got [3, 7, 6]");
  EXPECT_ERROR(denoise(instruct_, text_guidance(text(), text(), 1), *scheduler, sample), core::UsageError, "no image latents");
  EXPECT_ERROR(denoise(unet_, instruct_guidance(text(), text(), sample, 3, 2), *scheduler, sample), core::UsageError, "Take text_guidance");
  EXPECT_ERROR(denoise(unet_, text_guidance(text(), text(), 1), *scheduler, at::randn({2, 8, 6, 5})), core::UsageError, "[2, 8, 6, 5]");
  EXPECT_ERROR(denoise(unet_, {}, *scheduler, sample), core::UsageError, "without a branch");
}

TEST_F(Sampling, JoinTakesKeysAndValuesAlong) {
  const TextContext two = text(2), one = text(), joined = join(std::vector<TextContext>{two, one});
  EXPECT_EQ(joined.text.size(0), 3);
  const at::Tensor sample = at::randn({3, 4, 6, 5});
  ASSERT_EQ(joined.prepared.size(), one.prepared.size());
  EXPECT_TRUE(near(unet_->forward(sample, 5.0, joined), unet_->forward(sample, 5.0, TextContext(joined.text))));
  EXPECT_TRUE(join(std::vector<TextContext>{one, TextContext(two.text)}).prepared.empty()) << "not all have them";
  EXPECT_ERROR(join(std::vector<TextContext>{one, TextContext(at::randn({1, 5, 6}))}), core::UsageError, "[1, 5, 6]");
}

TEST_F(Sampling, ThreadsShareOneNetwork) {
  const TextContext texts = text(), negative = text();
  const at::Tensor samples = at::randn({4, 1, 4, 6, 5});
  const auto run = [&](int64_t i) { return denoise(unet_, text_guidance(texts, negative, 5), *planned("PNDMScheduler", 8), samples[i]); };
  std::vector<at::Tensor> results(4);
  {
    std::vector<std::jthread> threads;
    for (int64_t i = 0; i < 4; ++i) threads.emplace_back([&, i] { results[size_t(i)] = run(i); });
  }
  for (int64_t i = 0; i < 4; ++i) EXPECT_TRUE(near(results[size_t(i)], run(i))) << "thread " << i;
}

}  // namespace
}  // namespace syncdr::diffusion::sampling_tests
