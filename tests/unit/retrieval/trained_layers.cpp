#include "trained_layers.h"

#include <gmock/gmock.h>

#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::retrieval {
namespace {

Encoder encoder_of(const EncoderConfig& config) { return Encoder(config, 3); }

std::set<std::string> trained_names(const Encoder& encoder) {
  std::set<std::string> names;
  for (const auto& item : encoder->named_parameters())
    if (item.value().requires_grad()) names.insert(item.key());
  return names;
}

TEST(TrainedLayers, AllIsOneGroupInTheEncodersOrder) {
  const EncoderConfig config{.name = "small", .dim = 8};
  Encoder encoder = encoder_of(config);
  const auto groups = trained_groups(*encoder, config);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].rate, 1);
  EXPECT_EQ(groups[0].parameters.size(), encoder->parameters().size());
  for (size_t k = 0; k < groups[0].parameters.size(); ++k) EXPECT_TRUE(groups[0].parameters[k].is_same(encoder->parameters()[k]));
}

TEST(TrainedLayers, TheHeadAloneLeavesTheBackboneWithoutGradient) {
  const EncoderConfig config{.name = "small", .dim = 8, .train = "head"};
  Encoder encoder = encoder_of(config);
  ASSERT_EQ(trained_groups(*encoder, config).size(), 1u);
  EXPECT_EQ(trained_names(encoder), (std::set<std::string>{"head.bias", "head.weight"}));
}

TEST(TrainedLayers, NamedLayersAreTrainedWithTheHead) {
  const EncoderConfig config{.name = "resnet18", .dim = 8, .train = "layer3+layer4"};
  Encoder encoder = encoder_of(config);
  trained_groups(*encoder, config);
  for (const std::string& name : trained_names(encoder))
    EXPECT_TRUE(name.starts_with("head.") || name.starts_with("backbone.layer3.") || name.starts_with("backbone.layer4.")) << name;
  EXPECT_TRUE(trained_names(encoder).contains("backbone.layer4.1.conv2.weight"));
}

TEST(TrainedLayers, RatesFallTowardsTheInput) {
  const EncoderConfig config{.name = "small", .dim = 8, .layer_decay = 0.5};
  Encoder encoder = encoder_of(config);
  const auto layers = encoder->backbone().layers().size();
  const auto groups = trained_groups(*encoder, config);
  ASSERT_EQ(groups.size(), layers + 1);
  for (size_t k = 0; k <= layers; ++k) EXPECT_EQ(groups[k].rate, std::pow(0.5, static_cast<double>(layers - k)));
  EXPECT_EQ(groups.back().parameters.size(), 2u);  // the head's
}

TEST(TrainedLayers, ALayerThatIsNotThereIsNamedWithThoseThatAre) {
  const EncoderConfig config{.name = "small", .dim = 8, .train = "layer4+layer9"};
  Encoder encoder = encoder_of(config);
  try {
    trained_groups(*encoder, config);
    FAIL();
  } catch (const core::UsageError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("\"layer9\" is no layer of small"), testing::HasSubstr("layer4")));
  }
}

TEST(TrainedLayers, WhatIsNotTrainedKeepsItsStatistics) {
  const EncoderConfig config{.name = "small", .dim = 8, .feature_norm = true, .train = "head"};
  Encoder encoder = encoder_of(config);
  trained_groups(*encoder, config);
  train_mode(*encoder);
  const io::NamedTensors before = nn::state_of(*encoder);
  const at::Tensor mean = before.at("backbone.bn1.running_mean").clone(), norm = before.at("feature_norm.running_mean").clone();
  encoder->forward(at::randn({4, 3, 32, 32}));
  EXPECT_TRUE(nn::state_of(*encoder).at("backbone.bn1.running_mean").equal(mean));
  EXPECT_FALSE(nn::state_of(*encoder).at("feature_norm.running_mean").equal(norm));  // it is new: it learns its own
}

}  // namespace
}  // namespace syncdr::retrieval
