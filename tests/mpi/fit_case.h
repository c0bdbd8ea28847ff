#pragma once
#include <gtest/gtest.h>

#include <string>

#include "syncdr/fit/diffusion.h"
#include "syncdr/training/metric_log.h"

/// What the tests of several trainings share.
namespace syncdr::fit {

/// A model from scratch, of a few steps, whose tokens are bytes and whose texts have 18.
inline DiffusionFitConfig small_model(const std::string& layout) {
  DiffusionFitConfig config;
  config.prompts = {"a warm picture", "a cold picture"};
  config.layout = layout;
  config.steps = 4;
  config.batch = 8;
  config.unet = {.channels = {8, 16}, .head_width = 8, .norm_groups = 4};
  config.text = {.width = 16, .layers = 1, .heads = 2, .length = 20};
  config.autoencoder = {.steps = 2, .batch = 4, .channels = {8, 16}, .latent_channels = 3, .norm_groups = 4, .augment = {.resize = 18, .crop = 16}};
  config.augment = {.resize = 18, .crop = 16};
  return config;
}

inline void expect_same(const training::Curve& ours, const training::Curve& theirs) {
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t k = 0; k < ours.size(); ++k) EXPECT_NEAR(ours[k].second, theirs[k].second, 1e-5 * theirs[k].second) << "step " << ours[k].first;
}

}  // namespace syncdr::fit
