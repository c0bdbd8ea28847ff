#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layers.h"
#include "syncdr/core/error.h"
#include "syncdr/gan/cut.h"

namespace syncdr::gan {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

GeneratorConfig small_generator() { return {.width = 4, .blocks = 2, .nce_layers = {0, 4, 8, 12, 13}}; }

at::Tensor images(int64_t count, int64_t side) { return at::rand({count, 3, side, side}, at::make_generator<at::CPUGeneratorImpl>(5)) * 2 - 1; }

Generator initialised(const GeneratorConfig& config) {
  Generator generator(config);
  initialise(*generator, "generator", 1, 1.0);
  return generator;
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const core::UsageError& error) {
    return error.what();
  }
  return "no UsageError";
}

TEST(Generator, HasTheSizeOfThePublishedModel) {
  int64_t parameters = 0;
  for (const auto& parameter : Generator(GeneratorConfig{})->parameters()) parameters += parameter.numel();
  EXPECT_EQ(parameters, 11'378'179);  // the paper's ResNet-9 generator: 11.378 M
}

TEST(Generator, NumbersItsLayersAsThePublishedModel) {
  const auto names = Generator(GeneratorConfig{})->named_parameters();
  for (const char* name : {"model.1.weight", "model.4.bias", "model.8.weight", "model.12.conv_block.1.weight", "model.20.conv_block.5.bias", "model.22.weight",
                           "model.26.weight", "model.30.weight"})
    EXPECT_TRUE(names.contains(name)) << name;
  EXPECT_EQ(names.size(), 2u * (3 + 18 + 3));
}

TEST(Generator, KeepsShapeAndRange) {
  const at::Tensor output = initialised(small_generator())->forward(images(2, 16));
  EXPECT_EQ(output.sizes(), (std::vector<int64_t>{2, 3, 16, 16}));
  EXPECT_LE(output.abs().max().item<float>(), 1.0f);
  EXPECT_GT(output.std().item<float>(), 0.01f);
}

TEST(Generator, FeaturesAreThoseOfTheTranslatingPass) {
  Generator generator = initialised(small_generator());
  const at::Tensor input = images(2, 16);
  const GeneratorOutput both = generator->forward_with_features(input);
  const auto alone = generator->features(input);
  ASSERT_EQ(alone.size(), 5u);
  EXPECT_THAT(generator->feature_channels(), ElementsAre(3, 8, 16, 16, 16));
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_TRUE(at::equal(alone[i], both.features[i])) << "layer " << i;
    EXPECT_EQ(alone[i].size(1), generator->feature_channels()[i]);
  }
  EXPECT_TRUE(at::equal(both.images, generator->forward(input)));
}

TEST(Generator, AnImageDoesNotDependOnItsNeighbours) {
  Generator generator = initialised(small_generator());
  const at::Tensor input = images(3, 16);
  EXPECT_LT((generator->forward(input)[1] - generator->forward(input.narrow(0, 1, 1))[0]).abs().max().item<float>(), 1e-5f);
}

TEST(Generator, RefusesLayersThatAreNotThereOrFall) {
  GeneratorConfig config = small_generator();
  config.nce_layers = {0, 99};
  EXPECT_THAT(message_of([&] { Generator{config}; }), HasSubstr("99 is no layer; this generator has layers 0 to 24"));
  config.nce_layers = {4, 4};
  EXPECT_THAT(message_of([&] { Generator{config}; }), HasSubstr("must rise, but 4 follows 4"));
}

TEST(Generator, RefusesSidesThatAreNoMultipleOfFour) {
  EXPECT_THAT(message_of([] { initialised(small_generator())->forward(images(1, 18)); }), HasSubstr("multiples of 4"));
}

TEST(Discriminator, ScoresOverlappingPatches) {
  Discriminator discriminator(DiscriminatorConfig{.width = 4, .layers = 3});
  // 256 pixels: 255, 128; 127, 64; 63, 32; 31; 30.
  EXPECT_EQ(discriminator->forward(images(1, 256)).sizes(), (std::vector<int64_t>{1, 1, 30, 30}));
  EXPECT_TRUE(discriminator->named_parameters().contains("model.11.weight"));
  EXPECT_TRUE(discriminator->named_parameters().contains("model.14.weight"));
}

TEST(Discriminator, RefusesImagesSmallerThanItsPatches) {
  const std::string message = message_of([] { Discriminator(DiscriminatorConfig{.width = 4, .layers = 4})->forward(images(1, 32)); });
  EXPECT_THAT(message, HasSubstr("at least 64 pixels a side"));
}

TEST(Downsample, KeepsAConstantAndSmoothsAnEdge) {
  EXPECT_TRUE(at::allclose(downsampled(at::full({1, 2, 8, 8}, 3.0)), at::full({1, 2, 4, 4}, 3.0)));
  const at::Tensor line = at::tensor({0.f, 0.f, 0.f, 1.f, 1.f, 1.f}).expand({1, 1, 6, 6});
  EXPECT_TRUE(at::allclose(downsampled(line)[0][0][0], at::tensor({0.f, 0.25f, 1.f})));
}

TEST(InstanceNorm, GivesEachImageAndChannelMeanZeroAndVarianceOne) {
  const at::Tensor output = instance_norm(images(2, 16) * 5 + 3);
  EXPECT_LT(output.mean({2, 3}).abs().max().item<float>(), 1e-5f);
  EXPECT_LT((output.var({2, 3}, /*unbiased=*/false) - 1).abs().max().item<float>(), 1e-4f);
}

TEST(Initialise, DependsOnNameAndSeedAlone) {
  Generator one(small_generator()), two(small_generator()), three(small_generator());
  initialise(*one, "generator", 7);
  at::rand({3});  // another number drawn from PyTorch's generator changes nothing
  initialise(*two, "generator", 7);
  initialise(*three, "generator", 8);
  const auto weight = [](Generator& generator) { return generator->named_parameters()["model.4.weight"]; };
  EXPECT_TRUE(at::equal(weight(one), weight(two)));
  EXPECT_FALSE(at::equal(weight(one), weight(three)));
  EXPECT_EQ(one->named_parameters()["model.4.bias"].abs().max().item<float>(), 0);
}

TEST(Initialise, DrawsFromXaviersDistribution) {
  Generator generator(GeneratorConfig{.width = 32, .blocks = 1, .nce_layers = {}});
  initialise(*generator, "generator", 7);
  const at::Tensor weight = generator->named_parameters()["model.12.conv_block.1.weight"];
  const double expected = 0.02 * std::sqrt(2.0 / (2 * 128 * 9));
  EXPECT_NEAR(weight.std().item<double>() / expected, 1, 0.01);
}

}  // namespace
}  // namespace syncdr::gan
