#include "syncdr/training/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "syncdr/core/error.h"

using namespace syncdr;
using training::OptimizerConfig;

namespace {

std::vector<at::Tensor> make_parameters() {
  torch::manual_seed(7);
  return {at::randn({3, 4}).requires_grad_(), at::randn({4}).requires_grad_()};
}

// One step on a loss that is not symmetric in its parameters.
void step_once(torch::optim::Optimizer& optimizer, std::vector<at::Tensor>& parameters) {
  optimizer.zero_grad();
  ((parameters[0] + parameters[1]).pow(2).mean() + parameters[0].sin().sum()).backward();
  optimizer.step();
}

io::NamedTensors copies(const io::NamedTensors& tensors) {
  io::NamedTensors copy;
  for (const auto& [name, tensor] : tensors) copy.emplace(name, tensor.detach().clone());
  return copy;
}

std::string message_of(torch::optim::Optimizer& optimizer, const io::NamedTensors& tensors) {
  try {
    training::load_optimizer_state(optimizer, tensors, "step-8/tensors.safetensors");
  } catch (const core::DataError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST(Optimizer, StateContinuesTrainingBitForBit) {
  for (const char* name : {"sgd", "adam", "adamw"}) {
    const OptimizerConfig config{.name = name, .learning_rate = 0.05};
    std::vector<at::Tensor> parameters = make_parameters();
    const auto optimizer = training::make_optimizer(parameters, config);
    for (int step = 0; step < 3; ++step) step_once(*optimizer, parameters);
    const io::NamedTensors saved = copies(training::optimizer_state(*optimizer));
    std::vector<at::Tensor> resumed;
    for (const at::Tensor& parameter : parameters) resumed.push_back(parameter.detach().clone().requires_grad_());
    const auto other = training::make_optimizer(resumed, config);
    training::load_optimizer_state(*other, saved, "saved");
    for (int step = 0; step < 3; ++step) {
      step_once(*optimizer, parameters);
      step_once(*other, resumed);
    }
    for (size_t k = 0; k < parameters.size(); ++k) EXPECT_TRUE(parameters[k].equal(resumed[k])) << name << " " << k;
    for (const auto& [key, tensor] : training::optimizer_state(*optimizer)) {
      EXPECT_TRUE(tensor.equal(training::optimizer_state(*other).at(key))) << name << " " << key;
    }
  }
}

TEST(Optimizer, LoadedStateIsACopy) {
  std::vector<at::Tensor> parameters = make_parameters();
  const auto optimizer = training::make_optimizer(parameters, {.name = "sgd"});
  step_once(*optimizer, parameters);
  const io::NamedTensors saved = copies(training::optimizer_state(*optimizer)), before = copies(saved);
  training::load_optimizer_state(*optimizer, saved, "saved");
  step_once(*optimizer, parameters);
  for (const auto& [name, tensor] : saved) EXPECT_TRUE(tensor.equal(before.at(name))) << name;
}

TEST(Optimizer, StateIsNamedByTheOrderOfParameters) {
  std::vector<at::Tensor> parameters = make_parameters();
  const auto optimizer = training::make_optimizer(parameters, {.name = "adamw"});
  EXPECT_TRUE(training::optimizer_state(*optimizer).empty());
  step_once(*optimizer, parameters);
  const auto state = training::optimizer_state(*optimizer);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state) names.push_back(name);
  EXPECT_THAT(names, testing::ElementsAre("0.exp_avg", "0.exp_avg_sq", "0.step", "1.exp_avg", "1.exp_avg_sq", "1.step"));
  EXPECT_EQ(state.at("1.step").item<int64_t>(), 1);
  EXPECT_EQ(state.at("0.exp_avg").sizes(), parameters[0].sizes());
}

TEST(Optimizer, EmptyStateIsTheOneBeforeTheFirstStep) {
  std::vector<at::Tensor> parameters = make_parameters();
  const auto optimizer = training::make_optimizer(parameters, {.name = "adam"});
  step_once(*optimizer, parameters);
  training::load_optimizer_state(*optimizer, {}, "step-0");
  EXPECT_TRUE(training::optimizer_state(*optimizer).empty());
}

TEST(Optimizer, StateThatDoesNotFitIsRejectedByNameAndChangesNothing) {
  std::vector<at::Tensor> parameters = make_parameters();
  const auto optimizer = training::make_optimizer(parameters, {.name = "adam"});
  step_once(*optimizer, parameters);
  const io::NamedTensors good = copies(training::optimizer_state(*optimizer));

  io::NamedTensors missing = good, left_over = good, shape = good, type = good;
  missing.erase("1.exp_avg_sq");
  left_over["2.exp_avg"] = at::zeros({4});
  shape["0.exp_avg"] = at::zeros({4, 3});
  type["1.exp_avg"] = at::zeros({4}, at::kDouble);
  EXPECT_THAT(message_of(*optimizer, missing), testing::HasSubstr("step-8/tensors.safetensors: optimizer state \"1.exp_avg_sq\" missing"));
  EXPECT_THAT(message_of(*optimizer, left_over), testing::HasSubstr("\"2.exp_avg\" not known"));
  EXPECT_THAT(message_of(*optimizer, shape), testing::HasSubstr("\"0.exp_avg\" is Float [4, 3], the optimizer needs Float [3, 4]"));
  EXPECT_THAT(message_of(*optimizer, type), testing::HasSubstr("\"1.exp_avg\" is Double [4], the optimizer needs Float [4]"));
  for (const auto& [name, tensor] : training::optimizer_state(*optimizer)) EXPECT_TRUE(tensor.equal(good.at(name))) << name;
}

TEST(Optimizer, StateOfAnotherOptimizerIsRejected) {
  std::vector<at::Tensor> parameters = make_parameters();
  const auto adam = training::make_optimizer(parameters, {.name = "adam"}), sgd = training::make_optimizer(parameters, {.name = "sgd"});
  const auto plain = training::make_optimizer(parameters, {.name = "sgd", .momentum = 0});
  step_once(*adam, parameters);
  step_once(*sgd, parameters);
  step_once(*plain, parameters);
  EXPECT_NE(message_of(*sgd, copies(training::optimizer_state(*adam))), "");
  EXPECT_NE(message_of(*adam, copies(training::optimizer_state(*sgd))), "");
  EXPECT_TRUE(training::optimizer_state(*plain).empty());
  EXPECT_THAT(message_of(*plain, copies(training::optimizer_state(*sgd))), testing::HasSubstr("\"0.momentum_buffer\" not known"));
}

TEST(Optimizer, BetasAreTwoValuesBelowOne) {
  EXPECT_THROW(training::make_optimizer(make_parameters(), {.name = "adam", .betas = {0.9}}), core::UsageError);
  EXPECT_THROW(training::make_optimizer(make_parameters(), {.name = "adamw", .betas = {0.9, 1.0}}), core::UsageError);
  EXPECT_THROW(training::make_optimizer(make_parameters(), {.name = "lion"}), core::UsageError);
}

TEST(Optimizer, LearningRateIsThatOfTheNextStep) {
  std::vector<at::Tensor> parameters = make_parameters();
  const auto optimizer = training::make_optimizer(parameters, {.name = "sgd", .learning_rate = 1, .momentum = 0, .weight_decay = 0});
  training::set_learning_rate(*optimizer, 0.25);
  const at::Tensor before = parameters[0].detach().clone();
  step_once(*optimizer, parameters);
  EXPECT_TRUE(parameters[0].allclose(before - 0.25 * parameters[0].grad()));
}

TEST(Optimizer, GroupsFollowTheScheduleAtTheirOwnRateAndAreNamedInOrder) {
  std::vector<at::Tensor> parameters = make_parameters();
  const std::vector<training::ParameterGroup> groups{{{parameters[0]}, 0.1}, {{parameters[1]}, 2}};
  const auto optimizer = training::make_optimizer(groups, {.name = "sgd", .learning_rate = 1, .momentum = 0.9, .weight_decay = 0});
  for (const double rate : {1.0, 0.5}) {  // the first is that of the configuration
    if (rate != 1) training::set_learning_rate(*optimizer, rate, groups);
    std::vector<at::Tensor> before;
    for (const at::Tensor& parameter : parameters) before.push_back(parameter.detach().clone());
    step_once(*optimizer, parameters);
    const io::NamedTensors state = training::optimizer_state(*optimizer);
    EXPECT_TRUE(parameters[0].allclose(before[0] - rate * 0.1 * state.at("0.momentum_buffer"))) << rate;
    EXPECT_TRUE(parameters[1].allclose(before[1] - rate * 2 * state.at("1.momentum_buffer"))) << rate;
  }
}

TEST(Optimizer, StateOfGroupsIsThatOfOneListInTheSameOrder) {
  std::vector<at::Tensor> parameters = make_parameters(), others = make_parameters();
  const auto grouped = training::make_optimizer(std::vector<training::ParameterGroup>{{{parameters[0]}, 1}, {{parameters[1]}, 1}}, {.name = "adamw"});
  const auto listed = training::make_optimizer(others, {.name = "adamw"});
  step_once(*grouped, parameters);
  step_once(*listed, others);
  const io::NamedTensors saved = copies(training::optimizer_state(*listed));
  training::load_optimizer_state(*grouped, saved, "saved");
  for (const auto& [name, tensor] : training::optimizer_state(*grouped)) EXPECT_TRUE(tensor.equal(saved.at(name))) << name;
}

TEST(ClipGradient, ShortensTheWholeGradientToTheNormAndLeavesAShorterOne) {
  std::vector<at::Tensor> parameters = make_parameters();
  parameters.push_back(at::ones({2}).requires_grad_());  // without a gradient
  const auto gradients = [&](double length) {
    parameters[0].mutable_grad() = at::full({3, 4}, length * 0.6 / std::sqrt(12.0));
    parameters[1].mutable_grad() = at::full({4}, length * 0.8 / 2);
  };
  const auto norm = [&] { return std::hypot(parameters[0].grad().norm().item<double>(), parameters[1].grad().norm().item<double>()); };
  gradients(10);
  training::clip_gradient(parameters, 2);
  EXPECT_NEAR(norm(), 2, 1e-5);
  EXPECT_NEAR(parameters[0].grad().norm().item<double>(), 1.2, 1e-5) << "its direction stays";
  gradients(1.5);
  training::clip_gradient(parameters, 2);
  EXPECT_NEAR(norm(), 1.5, 1e-6);
  gradients(10);
  training::clip_gradient(parameters, 0);
  EXPECT_NEAR(norm(), 10, 1e-5);
  EXPECT_FALSE(parameters[2].grad().defined());
}

// Values of PyTorch 2.11's OneCycleLR(max_lr=3e-3, total_steps=10) and CosineAnnealingLR(T_max=10).
TEST(Schedule, OneCycleHasPyTorchsValues) {
  const OptimizerConfig config{.schedule = "one_cycle"};
  EXPECT_NEAR(training::learning_rate_at(config, 0, 10), 3e-3 / 25, 1e-15);
  EXPECT_NEAR(training::learning_rate_at(config, 1, 10), (3e-3 + 3e-3 / 25) / 2, 1e-12);
  EXPECT_NEAR(training::learning_rate_at(config, 2, 10), 3e-3, 1e-15);
  EXPECT_NEAR(training::learning_rate_at(config, 9, 10), 3e-3 / 250000, 1e-15);
}

TEST(Schedule, OneCycleIsFiniteAtItsEdges) {
  for (const double warmup : {0.0, 0.1, 0.3, 0.5, 1.0}) {
    for (const int64_t steps : {1, 2, 3, 10}) {
      const OptimizerConfig config{.learning_rate = 1, .schedule = "one_cycle", .warmup = warmup};
      for (int64_t step = 0; step < steps; ++step) {
        const double rate = training::learning_rate_at(config, step, steps);
        EXPECT_GT(rate, 0) << warmup << " " << step << " of " << steps;
        EXPECT_LE(rate, 1) << warmup << " " << step << " of " << steps;
      }
    }
  }
}

TEST(Schedule, LinearIsConstantForHalfThenFallsInEqualSteps) {
  const OptimizerConfig config{.learning_rate = 1, .schedule = "linear"};
  for (int64_t step = 0; step < 5; ++step) EXPECT_DOUBLE_EQ(training::learning_rate_at(config, step, 10), 1);
  for (int64_t step = 5; step < 10; ++step) EXPECT_DOUBLE_EQ(training::learning_rate_at(config, step, 10), 1 - static_cast<double>(step - 4) / 6);
}

TEST(Schedule, CosineFallsFromTheLargestRate) {
  const OptimizerConfig config{.learning_rate = 2, .schedule = "cosine"};
  EXPECT_DOUBLE_EQ(training::learning_rate_at(config, 0, 10), 2);
  EXPECT_DOUBLE_EQ(training::learning_rate_at(config, 5, 10), 1);
  EXPECT_DOUBLE_EQ(training::learning_rate_at({.learning_rate = 2}, 9, 10), 2) << "the default is constant";
}

TEST(Schedule, WarmUpRisesFromZeroInAStraightLineBeforeTheSchedule) {
  const OptimizerConfig config{.learning_rate = 2, .schedule = "cosine", .warmup_steps = 4};
  for (int64_t step = 0; step < 4; ++step) EXPECT_DOUBLE_EQ(training::learning_rate_at(config, step, 14), 2 * static_cast<double>(step + 1) / 5);
  EXPECT_DOUBLE_EQ(training::learning_rate_at(config, 4, 14), 2);
  EXPECT_DOUBLE_EQ(training::learning_rate_at(config, 9, 14), 1) << "the middle of the ten steps after it";
  EXPECT_DOUBLE_EQ(training::learning_rate_at({.learning_rate = 5, .warmup_steps = 9}, 3, 5), 2) << "a run may end within it";
  EXPECT_DOUBLE_EQ(training::learning_rate_at({.learning_rate = 5, .warmup_steps = 9}, 9, 12), 5);
}

TEST(Schedule, CosineFallsToItsFloor) {
  const OptimizerConfig config{.learning_rate = 2, .schedule = "cosine", .floor = 0.25};
  EXPECT_DOUBLE_EQ(training::learning_rate_at(config, 0, 10), 2);
  EXPECT_DOUBLE_EQ(training::learning_rate_at(config, 5, 10), 1.25);
  EXPECT_NEAR(training::learning_rate_at(config, 999'999, 1'000'000), 0.5, 1e-9);
}

TEST(Schedule, OneCycleRisesByItself) {
  EXPECT_THROW(training::learning_rate_at({.schedule = "one_cycle", .warmup_steps = 1}, 0, 10), core::UsageError);
  EXPECT_THROW(training::make_optimizer(make_parameters(), {.schedule = "one_cycle", .warmup_steps = 1}), core::UsageError);
}

TEST(Schedule, UnknownNameAndStepOutOfRangeAreErrors) {
  EXPECT_THROW(training::learning_rate_at({.schedule = "step"}, 0, 10), core::UsageError);
  EXPECT_THROW(training::learning_rate_at({}, 10, 10), core::BugError);
}
