#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "syncdr/core/config.h"

namespace syncdr::training {

struct OptimizerConfig {
  std::string name = "sgd";
  double learning_rate = 3e-3;
  double momentum = 0.9;
  std::vector<double> betas = {0.9, 0.999};
  double weight_decay = 5e-4;
  std::string schedule = "constant";
  double warmup = 0.3;
  int64_t warmup_steps = 0;
  double floor = 0;
  double clip = 0;

  void visit(core::Fields& field) {
    field(name, "name", "optimizer", {"sgd", "adam", "adamw"});
    field(learning_rate, "learning_rate", "largest learning rate", core::above(0));
    field(momentum, "momentum", "momentum of SGD", core::between(0, 1));
    field(betas, "betas", "decay of Adam's two averages", core::between(0, 1));
    field(weight_decay, "weight_decay", "weight decay (adamw: decoupled)", core::at_least(0));
    field(schedule, "schedule", "learning rate over the run", {"constant", "cosine", "one_cycle", "linear"});
    field(warmup, "warmup", "one_cycle: share of the steps with a rising rate", core::between(0, 1));
    field(warmup_steps, "warmup_steps", "other schedules: steps before them, in which the rate rises from 0 in a straight line", core::at_least(0));
    field(floor, "floor", "cosine: what it falls to, as a share of learning_rate", core::between(0, 1));
    field(clip, "clip", "largest norm of the gradient of all weights together, a longer one is shortened to it; 0: none", core::at_least(0));
  }
};

}  // namespace syncdr::training
