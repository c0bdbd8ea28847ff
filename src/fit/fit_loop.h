#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/core/config.h"
#include "syncdr/data/dataset.h"
#include "syncdr/training/checkpoint.h"

/// The loop that every fit shares: resuming, steps, log, samples, checkpoints, stop on request, and the mark of a finished run.
namespace syncdr::fit {

/// What is trained, with its data and optimizers, on every rank alike. Methods named "on rank 0" must not use collectives.
class FitModel {
 public:
  virtual ~FitModel() = default;

  /// Of the values that step() returns, as they stand in log.jsonl: "loss_gan".
  virtual std::vector<std::string> loss_names() const = 0;
  /// Steps [first, last) will follow in order: the place to start reading ahead. Called once, after restore() where there is a checkpoint.
  virtual void begin(int64_t first, int64_t last) = 0;
  /// Trains one step. Returns this rank's shares of the losses, [n] float without gradient; over all ranks they sum to the means over the global batch.
  virtual at::Tensor step(int64_t step) = 0;
  virtual double learning_rate(int64_t step) const = 0;

  /// Everything that the steps after `steps_done` depend on, and back; `where` names the checkpoint in errors. Rank 0 saves, all ranks restore.
  virtual training::Checkpoint checkpoint(int64_t steps_done) const = 0;
  virtual void restore(const training::Checkpoint& checkpoint, const std::string& where) = 0;

  /// A PNG that shows a person what has been learned so far. On rank 0.
  virtual void save_samples(const std::filesystem::path& png) = 0;
  /// What was trained, into the run's folder. Returns the files, relative to it; their hashes tell later whether it is still there. On rank 0.
  virtual std::vector<std::filesystem::path> save(const std::filesystem::path& folder) = 0;
  /// What to do if a loss is no longer finite, as a sentence without its end: "Lower fit.cut.learning_rate (now 0.1)".
  virtual std::string advice() const = 0;
};

struct FitPlan {
  std::string title;     ///< for people: "CUT photo -> sketch"
  std::string identity;  ///< everything that the result is a function of, as text: guards a folder against another run's settings
  int64_t steps = 0;
  int64_t images_per_step = 0;  ///< over all ranks, for images_per_second
  int64_t log_every = 20;
  int64_t sample_every = 500;  ///< 0: at the end alone
  int64_t checkpoint_every = 500;
  std::filesystem::path out;
};

/// The usual identity: what is trained, seed, dataset, and the configuration as TOML.
std::string fit_identity(const std::string& what, uint64_t seed, const data::Dataset& dataset, const core::Visit& config);

/// The plan of a configuration that has steps, log_every, sample_every and checkpoint_every. what: in the identity, to which how often a run reports does
/// not belong.
template <class Config>
FitPlan fit_plan(const std::string& title, const std::string& what, int64_t images_per_step, Config config, uint64_t seed, const data::Dataset& dataset,
                 const std::filesystem::path& out) {
  FitPlan plan{.title = title,
               .steps = config.steps,
               .images_per_step = images_per_step,
               .log_every = config.log_every,
               .sample_every = config.sample_every,
               .checkpoint_every = config.checkpoint_every,
               .out = out};
  const Config defaults;
  config.log_every = defaults.log_every;
  config.sample_every = defaults.sample_every;
  config.checkpoint_every = defaults.checkpoint_every;
  plan.identity = fit_identity(what, seed, dataset, core::visit_of(config));
  return plan;
}

/// Whether an earlier run with this identity left its result in plan.out, unchanged; says so in the log. Cheap: to be asked before models are made.
/// Collective. Throws UsageError if the folder is another run's.
bool fit_is_done(comm::World& world, const FitPlan& plan);

/// Trains to the end, resuming from the newest checkpoint in plan.out/checkpoints. Leaves log.jsonl, samples/step-N.png, checkpoints/, what the model
/// saves, and done.json last. Collective.
///
/// A line of log.jsonl: step (steps finished), the losses (means over the steps since the line before), learning_rate, images_per_second.
///
/// Throws UsageError if the folder is another run's; IoError if ranks see different checkpoints; DataError when a loss is no longer finite;
/// StopRequested, on all ranks, after a stop signal to any: a checkpoint is saved.
void run_fit(comm::World& world, FitModel& model, const FitPlan& plan);

}  // namespace syncdr::fit
