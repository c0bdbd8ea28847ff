#include "syncdr/diffusion/pipeline.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <torch/utils.h>

#include <thread>

#include "diffusion/tiny_checkpoint.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/learned_tokens.h"

namespace syncdr::diffusion::pipeline_tests {
namespace {

class Pipeline : public testing::Test {
 protected:
  StableDiffusion load(const TinyCheckpoint& what = {}, c10::ScalarType dtype = at::kFloat) {
    what.put(folder_.path());
    return StableDiffusion(CheckpointFolder(folder_.path()), {.dtype = dtype});
  }
  static PipelineNoise noise(int64_t batch) { return {.encoding = at::randn({batch, 4, 6, 5}), .start = at::randn({batch, 4, 6, 5}), .step = {}}; }
  static at::Tensor images(int64_t batch) { return at::rand({batch, 3, 12, 10}) * 2 - 1; }

  TemporaryFolder folder_;
};

std::unique_ptr<Scheduler> steps_of(const StableDiffusion& model, int64_t steps, const std::string& name = "") {
  std::unique_ptr<Scheduler> scheduler = model.make_scheduler(name);
  scheduler->set_steps(steps);
  return scheduler;
}

TEST_F(Pipeline, NetworksAreLoadedInTheDtypeAskedForWithoutGradients) {
  StableDiffusion model = load({}, at::kBFloat16);
  for (const at::Tensor& parameter : model.unet()->parameters()) {
    EXPECT_EQ(parameter.scalar_type(), at::kBFloat16);
    EXPECT_FALSE(parameter.requires_grad());
    EXPECT_TRUE(parameter.dim() != 4 || parameter.is_contiguous(at::MemoryFormat::ChannelsLast));
  }
  EXPECT_FALSE(model.unet()->is_training());
  EXPECT_EQ(model.encode_text({"a"}).text.scalar_type(), at::kBFloat16);
  EXPECT_EQ(model.encode_image(images(1)).scalar_type(), at::kFloat);
  EXPECT_EQ(model.latent_shape(12, 10), (std::vector<int64_t>{4, 6, 5}));
}

TEST_F(Pipeline, HashIsOfTheWeightsInTheirDtype) {
  const StableDiffusion model = load(), again = load(), rounded = load({}, at::kBFloat16), other = load({.silent = true});
  EXPECT_EQ(model.hash().size(), 32u);
  EXPECT_EQ(model.hash(), again.hash());
  EXPECT_NE(model.hash(), rounded.hash());
  EXPECT_NE(model.hash(), other.hash());
}

TEST_F(Pipeline, ModelsOfOneCheckpointShareTheirNetworksWhileOneIsThere) {
  std::optional<StableDiffusion> model = load();
  const std::string hash = model->hash();
  StableDiffusion again(CheckpointFolder(folder_.path()), {}), plain(CheckpointFolder(folder_.path()), {.winograd = false});
  EXPECT_EQ(model->unet().get(), again.unet().get());
  EXPECT_NE(model->unet().get(), plain.unet().get());
  EXPECT_EQ(hash, plain.hash()) << "of the weights as they were read";
}

TEST_F(Pipeline, LearnedTokensAreReadInTheNetworksDtypeAndBelongToWhatIsShared) {
  const at::Tensor ink = at::randn({1, 6});
  const auto file = folder_ / "ink.safetensors";
  write_learned_token(file, {"<ink>", ink});
  StableDiffusion plain = load({}, at::kBFloat16);
  const InferenceOptions options{.dtype = at::kBFloat16};
  const CheckpointFolder checkpoint(folder_.path());
  StableDiffusion model(checkpoint, options, {.tokens = {file}}), again(checkpoint, options, {.tokens = {file}});
  EXPECT_EQ(model.unet().get(), again.unet().get());
  EXPECT_NE(model.unet().get(), plain.unet().get());
  EXPECT_NE(model.hash(), plain.hash());
  EXPECT_TRUE(model.encode_text({"a b"}).text.equal(plain.encode_text({"a b"}).text));
  EXPECT_FALSE(model.encode_text({"a <ink>"}).text.equal(plain.encode_text({"a <ink>"}).text));
  const std::string hash = model.hash();
  write_learned_token(file, {"<ink>", ink * 2});
  StableDiffusion other(checkpoint, options, {.tokens = {file}});
  EXPECT_NE(other.hash(), hash) << "of the file as it is now";
}

TEST_F(Pipeline, ImageToImageDependsOnItsOwnNoiseOnly) {
  StableDiffusion model = load();
  const auto scheduler = steps_of(model, 5);
  const std::vector<Branch> guidance = text_guidance(model.encode_text({"a b"}), model.encode_text({""}), 4);
  const at::Tensor given = images(3);
  const PipelineNoise all = noise(3), second{.encoding = all.encoding.narrow(0, 1, 1), .start = all.start.narrow(0, 1, 1), .step = {}};
  const at::Tensor together = img2img(model, *scheduler, given, guidance, 0.6, all);
  EXPECT_EQ(together.sizes(), given.sizes());
  EXPECT_FALSE(together.requires_grad());
  EXPECT_TRUE(at::allclose(img2img(model, *scheduler, given.narrow(0, 1, 1), guidance, 0.6, second)[0], together[1], 1e-4, 1e-4));
  EXPECT_FALSE(at::allclose(img2img(model, *scheduler, given, guidance, 0.6, noise(3)), together, 1e-2, 1e-2));
}

TEST_F(Pipeline, ThreadsShareOneModel) {
  StableDiffusion model = load();
  const at::Tensor given = images(4);
  const PipelineNoise all = noise(4);
  const auto run = [&](int64_t i) {
    const std::vector<Branch> guidance = text_guidance(model.encode_text({i % 2 ? "a" : "b"}), model.encode_text({""}), 4);
    const PipelineNoise own{.encoding = all.encoding.narrow(0, i, 1), .start = all.start.narrow(0, i, 1), .step = {}};
    return img2img(model, *steps_of(model, 6), given.narrow(0, i, 1), guidance, 0.5, own);
  };
  std::vector<at::Tensor> results(4);
  {
    std::vector<std::jthread> threads;
    for (int64_t i = 0; i < 4; ++i) threads.emplace_back([&, i] { results[size_t(i)] = run(i); });
  }
  for (int64_t i = 0; i < 4; ++i) EXPECT_TRUE(at::allclose(results[size_t(i)], run(i), 1e-4, 1e-4)) << "thread " << i;
}

TEST_F(Pipeline, InstructionsReadTheImageBehindTheSample) {
  StableDiffusion model = load({.unet_channels = 8});
  EXPECT_EQ(model.condition_channels(), 4);
  const auto scheduler = steps_of(model, 4, "EulerDiscreteScheduler");
  const TextContext text = model.encode_text({"a"}), negative = model.encode_text({""});
  const at::Tensor given = images(2), latents = model.image_condition(given);
  EXPECT_TRUE(at::allclose(latents * 0.18215, model.encode_image(given)));
  const PipelineNoise start = noise(2);
  const at::Tensor edited = generate(model, *scheduler, instruct_guidance(text, negative, latents, 5, 1.5), start);
  const at::Tensor other = generate(model, *scheduler, instruct_guidance(text, negative, latents.flip(0), 5, 1.5), start);
  EXPECT_EQ(edited.sizes(), given.sizes());
  EXPECT_FALSE(at::allclose(edited, other, 1e-3, 1e-3));
}

// Without noise to predict the way there is a scaling, and so is the way back.
TEST_F(Pipeline, InversionAndDecodingGiveBackTheImageOfASilentNetwork) {
  StableDiffusion model = load({.silent = true});
  const at::Tensor given = images(2), expected = model.decode_image(model.encode_image(given));
  const std::vector<Branch> guidance = text_guidance(model.encode_text({"a"}), model.encode_text({"b"}), 3);
  const auto inverse = steps_of(model, 10, "DDIMInverseScheduler"), scheduler = steps_of(model, 10);
  const float signal = std::sqrt(scheduler->alphas_cumprod()[500]);
  EXPECT_TRUE(at::allclose(invert(model, *inverse, given, guidance, 0.6), model.encode_image(given) * signal, 1e-4, 1e-5));
  for (const double depth : {0.3, 0.6, 1.0}) {
    EXPECT_TRUE(at::allclose(ddib(model, *inverse, *scheduler, given, guidance, guidance, depth), expected, 1e-4, 1e-4)) << depth;
  }
}

TEST_F(Pipeline, WhatDoesNotFitIsNamed) {
  StableDiffusion model = load();
  const auto scheduler = steps_of(model, 4), euler = steps_of(model, 4, "EulerAncestralDiscreteScheduler"),
             inverse = steps_of(model, 3, "DDIMInverseScheduler");
  const std::vector<Branch> guidance = text_guidance(model.encode_text({"a"}), model.encode_text({"b"}), 3);
  EXPECT_ERROR(model.latent_shape(12, 9), core::UsageError, "12 x 9 pixels: both sides must be multiples of 2");
  EXPECT_ERROR(img2img(model, *scheduler, at::rand({1, 3, 12, 9}), guidance, 0.5, noise(1)), core::UsageError, "multiples of 2");
  EXPECT_ERROR(img2img(model, *scheduler, images(2), guidance, 0.5, noise(1)), core::UsageError, "the encoding noise must be [2, 4, 6, 5], got [1, 4, 6, 5]");
  EXPECT_ERROR(ddib(model, *inverse, *scheduler, images(1), guidance, guidance, 0.5), core::UsageError, "4 calls cannot follow an inversion of 3");
  EXPECT_ERROR(ddib(model, *inverse, *euler, images(1), guidance, guidance, 0.5), core::UsageError, "EulerAncestral");
  EXPECT_ERROR(model.encode_text({}), core::UsageError, "no text");
}

TEST_F(Pipeline, ComponentsThatDoNotFitTogetherAreNamed) {
  TinyCheckpoint().put(folder_.path());
  ::test::put(folder_ / "tokenizer/tokenizer_config.json", R"({"model_max_length": 9})");
  EXPECT_ERROR(StableDiffusion(CheckpointFolder(folder_.path()), {}), core::DataError, "texts have 9 tokens, the text encoder takes 8");
}

}  // namespace
}  // namespace syncdr::diffusion::pipeline_tests
