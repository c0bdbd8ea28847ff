#include "syncdr/training/loss_scaler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "syncdr/core/error.h"

using namespace syncdr;
using training::LossScaler;

namespace {

double figure(const LossScaler& scaler, const std::string& name) {
  for (const auto& [key, value] : scaler.figures()) {
    if (key == name) return value;
  }
  ADD_FAILURE() << name;
  return 0;
}

/// A backward pass of (weight * gradient).sum().
at::Tensor backward(const LossScaler& scaler, double gradient) {
  at::Tensor weight = at::ones({3}).requires_grad_();
  scaler.scale((weight * gradient).sum()).backward();
  return weight;
}

}  // namespace

TEST(LossScaler, ScalesTheLossAndGivesBackItsGradient) {
  LossScaler scaler(true);
  const at::Tensor weight = backward(scaler, 0.25);
  EXPECT_EQ(weight.grad()[0].item<float>(), 0.25F * 65536);
  EXPECT_TRUE(scaler.unscale({weight, at::ones({2})}));
  EXPECT_EQ(weight.grad()[0].item<float>(), 0.25F);
  EXPECT_EQ(figure(scaler, "loss_scale"), 65536);
  EXPECT_EQ(figure(scaler, "skipped_steps"), 0);
}

TEST(LossScaler, AGradientThatIsNotFiniteSkipsTheStepAndHalvesTheScale) {
  LossScaler scaler(true);
  for (const double gradient : {INFINITY, NAN}) {
    const at::Tensor good = backward(scaler, 1), bad = backward(scaler, gradient);
    EXPECT_FALSE(scaler.unscale({good, bad}));
  }
  EXPECT_EQ(figure(scaler, "loss_scale"), 16384);
  EXPECT_EQ(figure(scaler, "skipped_steps"), 2);
}

TEST(LossScaler, TwoThousandGoodStepsInARowDoubleTheScaleAlsoAcrossACheckpoint) {
  LossScaler before(true), after(true);
  const auto good_steps = [](LossScaler& scaler, int steps) {
    for (int step = 0; step < steps; ++step) EXPECT_TRUE(scaler.unscale({backward(scaler, 1)}));
  };
  good_steps(before, 500);
  EXPECT_FALSE(before.unscale({backward(before, INFINITY)}));
  good_steps(before, 1500);
  training::Checkpoint checkpoint;
  before.put(checkpoint);
  after.take(checkpoint, "step-2001");
  good_steps(after, 499);
  EXPECT_EQ(figure(after, "loss_scale"), 32768);
  good_steps(after, 1);
  EXPECT_EQ(figure(after, "loss_scale"), 65536);
  EXPECT_EQ(figure(after, "skipped_steps"), 1);
}

TEST(LossScaler, EndsTheRunWhenNoScaleHelps) {
  LossScaler scaler(true);
  const auto skip = [&] { EXPECT_FALSE(scaler.unscale({backward(scaler, INFINITY)})); };
  for (int step = 0; step < 40; ++step) skip();
  EXPECT_THROW(skip(), core::DataError);
}

TEST(LossScaler, OneThatIsOffDoesNothing) {
  LossScaler scaler(false);
  const at::Tensor weight = backward(scaler, INFINITY);
  EXPECT_TRUE(scaler.unscale({weight}));
  EXPECT_TRUE(scaler.figures().empty());
  training::Checkpoint checkpoint;
  scaler.put(checkpoint);
  EXPECT_TRUE(checkpoint.state.empty());
  scaler.take(checkpoint, "step-1");
}
