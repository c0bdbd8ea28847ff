#pragma once
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/core/config.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/identity.h"
#include "syncdr/training/checkpoint.h"
#include "syncdr/training/metric_log.h"

/// The run that every trained model shares: resuming, steps, log, validation, samples, checkpoints, stop on request, and the mark of a finished run.
namespace syncdr::training {

/// What is trained, with its data and optimizers, on every rank alike. Methods named "on rank 0" must not use collectives.
class Learner {
 public:
  virtual ~Learner() = default;

  /// Of the values that step() returns, as they stand in log.jsonl: "loss_gan".
  virtual std::vector<std::string> loss_names() const = 0;
  /// Steps [first, last) will follow in order: the place to start reading ahead. Called once, after restore() where there is a checkpoint.
  virtual void begin(int64_t first, int64_t last) = 0;
  /// Trains one step, counted from 0. Returns this rank's shares of the losses, [n] float without gradient; over all ranks they sum to the means over the
  /// global batch.
  virtual at::Tensor step(int64_t step) = 0;
  virtual double learning_rate(int64_t step) const = 0;

  /// Everything that the steps after `steps_done` depend on, and back; `where` names the checkpoint in errors. Rank 0 saves, all ranks restore.
  virtual Checkpoint checkpoint(int64_t steps_done) const = 0;
  virtual void restore(const Checkpoint& checkpoint, const std::string& where) = 0;
  /// What lies in parts on the ranks, as files NAME.safetensors of this rank's own in the checkpoint's folder; restore() finds them in `where`. All ranks call
  /// it before checkpoint(), and training waits for it.
  virtual void save_parts(const std::filesystem::path& /*folder*/) const {}

  /// Figures of the model as it is, for the log, the same on all ranks. All ranks call it; what it keeps belongs to the checkpoint.
  virtual MetricLog::Values validate(int64_t /*steps_done*/) { return {}; }
  /// Whether the run is to end here, before its steps are over: asked after a validation and after restore(). The same on all ranks; what it depends on belongs
  /// to the checkpoint.
  virtual bool enough() const { return false; }
  /// Further figures for a line of the log beside the losses, the same on all ranks.
  virtual MetricLog::Values figures() const { return {}; }
  /// A PNG that shows a person what has been learned so far. On rank 0.
  virtual void save_samples(const std::filesystem::path& /*png*/) {}
  /// What was trained, into the run's folder. Returns the files, relative to it; their hashes tell later whether it is still there. On rank 0.
  virtual std::vector<std::filesystem::path> save(const std::filesystem::path& folder) = 0;
  /// What done.json says beside settings, steps and files. On rank 0.
  virtual boost::json::object record() const { return {}; }
  /// What to do if a loss is no longer finite, as a sentence without its end: "Lower fit.cut.learning_rate (now 0.1)".
  virtual std::string advice() const = 0;
};

/// Every number of steps counts steps of training, and what happens every so many also happens after the last.
struct RunPlan {
  std::string title;      ///< for people: "CUT photo -> sketch"
  io::Identity identity;  ///< all that the result is a function of, without the number of steps
  int64_t steps = 0;
  /// The setting that makes a run so many steps long, for people: "fit.cut.steps = 2000".
  std::function<std::string(int64_t)> length = [](int64_t count) { return fmt::format("{} steps", count); };
  /// The setting by which early steps depend on the number of all ("train.optimizer.schedule = \"cosine\""); empty: none, so a run may go on for more.
  std::string bound_by;
  int64_t images_per_step = 0;  ///< over all ranks, for images_per_second
  int64_t log_every = 20;
  int64_t checkpoint_every = 500;
  int64_t validate_every = 0;  ///< 0: never
  int64_t sample_every = 0;    ///< 0: at the end alone
  std::filesystem::path out;
};

/// What travels together through a training.
struct Task {
  comm::World& world;
  const data::Dataset& dataset;
  std::vector<std::string> domains;  ///< all that it is of; where there is a direction: source and target
  uint64_t seed = 0;
  std::filesystem::path out;
};

/// All that the result of a training of this configuration is a function of. what: is trained, in words; prefix: of the configuration's keys ("fit.cut").
/// How long a run is, how often it reports and how many threads read ahead are no part of it.
io::Identity identity_of(const Task& task, const std::string& what, const core::Visit& config, const std::string& prefix);

/// What a learning rate's schedule makes of RunPlan::bound_by; keys: the prefix of its configuration ("train.optimizer").
std::string bound_by_schedule(const std::string& schedule, const std::string& keys);

/// The plan of a configuration that has steps, log_every, checkpoint_every and sample_every, but for what binds it. title: what is trained; keys: the prefix
/// of the configuration's.
template <class Config> RunPlan plan_of(const Task& task, const std::string& title, Config config, const std::string& keys, int64_t images_per_step) {
  return {.title = title,
          .identity = identity_of(task, title, core::visit_of(config), keys),
          .steps = config.steps,
          .length = [keys](int64_t steps) { return fmt::format("{}.steps = {}", keys, steps); },
          .images_per_step = images_per_step,
          .log_every = config.log_every,
          .checkpoint_every = config.checkpoint_every,
          .sample_every = config.sample_every,
          .out = task.out};
}

struct RunResult {
  int64_t steps = 0;  ///< of this call
  int64_t total = 0;  ///< since the training began: fewer than planned if the learner had enough
  double step_seconds = 0, validation_seconds = 0;
};

/// done.json, if an earlier run with this identity and length left its result in plan.out, unchanged; says so in the log. Cheap: to be asked before models
/// are made. All ranks call it. Throws UsageError if the folder is another run's, or a longer one's.
std::optional<boost::json::object> finished_run(comm::World& world, const RunPlan& plan);

/// Trains to the end, resuming from the newest checkpoint in plan.out/checkpoints: of a run that was interrupted, or of one that was finished with fewer
/// steps. Leaves log.jsonl, samples/step-N.png, checkpoints/, what the learner saves, and done.json last. All ranks call it.
///
/// A line of log.jsonl: step (steps finished), the losses (means over the steps since the line before), learning_rate, what figures() gives,
/// images_per_second; or step and what validate() gives. done.json has "stopped_early" where the learner had enough; such a run is finished for more steps too.
///
/// Throws UsageError if the folder is another run's; IoError if ranks see different checkpoints; DataError when a loss is no longer finite;
/// StopRequested, on all ranks, after a stop signal to any, within two seconds or a step: a checkpoint is saved.
RunResult run(comm::World& world, Learner& learner, const RunPlan& plan);

}  // namespace syncdr::training
