#include "syncdr/training/run.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>

#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <set>
#include <utility>

#include "syncdr/core/log.h"
#include "syncdr/core/progress.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"

namespace syncdr::training {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using RunClock = std::chrono::steady_clock;

double seconds_since(RunClock::time_point start) { return std::chrono::duration<double>(RunClock::now() - start).count(); }

/// A loss for people: its name in the log without "loss_".
std::string short_name(const std::string& name) { return name.starts_with("loss_") ? name.substr(5) : name; }

io::Identity identity_of(const RunPlan& plan) {
  io::Identity identity = plan.identity;
  if (!plan.bound_by.empty()) identity.emplace("steps", fmt::format("{}, which {} follows", plan.steps, plan.bound_by));
  return identity;
}

/// Refuses a folder of other settings; where its length alone is another one, by the settings that give it and that bind the run to it.
void expect_same(io::Identity then, const RunPlan& plan, const fs::path& file) {
  io::Identity now = identity_of(plan);
  const std::string before = std::exchange(then["steps"], ""), after = std::exchange(now["steps"], "");
  io::expect_same(then, now, file);
  if (before == after) return;
  int64_t steps = 0;
  const auto [end, error] = std::from_chars(before.data(), before.data() + before.size(), steps);
  if (error != std::errc()) throw core::DataError("{}: \"steps\" is \"{}\", no number of steps. Remove {}", file.string(), before, plan.out.string());
  const std::string length = plan.length(steps);
  throw core::UsageError(
      "{}: was made with {}, now it is {}. By {} each step depends on the length of the whole run, so it cannot go on to another one. Set {}, choose another "
      "folder, or remove {}",
      file.string(), length, plan.length(plan.steps), plan.bound_by, length, plan.out.string());
}

/// One training in its folder.
class Run {
 public:
  Run(comm::World& world, Learner& learner, const RunPlan& plan)
      : world_(world), learner_(learner), plan_(plan), names_(learner.loss_names()), checkpoints_(world, plan.out / "checkpoints") {}

  RunResult run() {
    resume();
    if (world_.is_root()) log_.emplace(plan_.out / "log.jsonl", done_ + 1);
    const int64_t first = done_;
    train();
    finish();
    return {.steps = done_ - first, .total = done_, .step_seconds = step_seconds_, .validation_seconds = validation_seconds_};
  }

 private:
  // Every rank reads the checkpoint: datasets lie on a file system that all ranks see, so does this.
  void resume() {
    const auto found = checkpoints_.folder().latest();
    const int64_t step = found ? found->step : 0, newest = world_.all_reduce_max(step, "agreeing on a checkpoint");
    if (step != newest)
      throw core::IoError("{}: this rank sees a checkpoint of step {}, another one of step {}: the folder must be shared by all ranks", plan_.out.string(),
                          step, newest);
    if (!found) return;
    const fs::path folder = plan_.out / "checkpoints" / fmt::format("step-{}", step), file = folder / "state.json";
    expect_same(io::identity_in(found->state, file.string()), plan_, file);
    if (step > plan_.steps)
      throw core::UsageError("{}: the run has gone on beyond {}. Set at least {}, choose another folder, or remove {}", folder.string(),
                             plan_.length(plan_.steps), plan_.length(step), plan_.out.string());
    learner_.restore(*found, folder.string());
    done_ = step;
    enough_ = learner_.enough();  // it was stopped or lost between its last checkpoint and done.json
    core::info("{}: goes on after step {} of {}", plan_.title, step, plan_.steps);
  }

  void train() {
    learner_.begin(done_, plan_.steps);
    core::Progress progress(plan_.title, plan_.steps, "steps", done_);
    while (!is_last()) {
      if (loss_steps_ == 0) loss_start_ = RunClock::now();
      const at::Tensor losses = learner_.step(done_);
      SYNCDR_ASSERT(losses.numel() == static_cast<int64_t>(names_.size()), "{} losses, {} names", losses.numel(), names_.size());
      loss_sums_ = loss_steps_++ == 0 ? losses : loss_sums_ + losses;
      ++done_;
      after_step();
      progress.advance(1, note_);
    }
  }

  void after_step() {
    const bool validates = is_due(plan_.validate_every), logs = is_last() || validates || is_due(plan_.checkpoint_every) || is_due(plan_.log_every);
    const bool asked = (++unasked_ >= ask_every_ || logs) && stop_is_agreed();
    if (logs || asked) log_losses();  // before saving: it refuses losses that are no longer finite
    if (validates) validate();
    enough_ = validates && learner_.enough();
    const bool stop = asked && !is_last();
    if (is_due(plan_.sample_every)) save_samples();
    if (is_last() || is_due(plan_.checkpoint_every) || stop) save_checkpoint();
    if (!stop) return;
    checkpoints_.finish();
    throw core::StopRequested("{}: stopped on request after step {} of {}, which is saved; the same command goes on", plan_.title, done_, plan_.steps);
  }

  /// A collective, so it is not asked after each of many short steps.
  bool stop_is_agreed() {
    unasked_ = 0;
    return world_.any(core::stop_requested(), "agreeing whether to stop");
  }

  void log_losses() {
    world_.all_reduce_sum(loss_sums_, "summing losses");
    const at::Tensor means = (loss_sums_.to(at::kDouble) / static_cast<double>(loss_steps_)).to(at::kCPU);
    const auto* losses = means.const_data_ptr<double>();
    describe(losses);
    check_finite(means);
    const double seconds = seconds_since(loss_start_);
    step_seconds_ += seconds;
    MetricLog::Values values;
    for (size_t i = 0; i < names_.size(); ++i) values.emplace_back(names_[i], losses[i]);
    values.emplace_back("learning_rate", learner_.learning_rate(done_ - 1));
    for (const auto& figure : learner_.figures()) values.push_back(figure);
    values.emplace_back("images_per_second", static_cast<double>(plan_.images_per_step * loss_steps_) / seconds);
    if (log_) log_->append(done_, values);
    const auto microseconds = static_cast<int64_t>(1e6 * seconds) / loss_steps_ + 1;
    ask_every_ = std::max<int64_t>(1, 2'000'000 / world_.all_reduce_max(microseconds, "agreeing on the pace"));
    loss_steps_ = 0;
  }

  void check_finite(const at::Tensor& means) const {
    if (at::isfinite(means).all().item<bool>()) return;
    throw core::DataError("{}: a loss is no longer finite at step {} ({}). {}, remove {} and run again", plan_.title, done_, note_, learner_.advice(),
                          plan_.out.string());
  }

  void describe(const double* losses) {
    std::vector<std::string> parts;
    for (size_t i = 0; i < names_.size(); ++i) parts.push_back(fmt::format("{} {:.4g}", short_name(names_[i]), losses[i]));
    note_ = fmt::format("{}", fmt::join(parts, ", "));
  }

  void validate() {
    const auto start = RunClock::now();
    const MetricLog::Values values = learner_.validate(done_);
    validation_seconds_ += seconds_since(start);
    if (log_) log_->append(done_, values);
    std::vector<std::string> parts;
    for (const auto& [name, value] : values) parts.push_back(fmt::format("{} {:.4f}", name, value));
    core::info("{}: step {} of {}: {}, {}", plan_.title, done_, plan_.steps, note_, fmt::join(parts, ", "));
  }

  void save_samples() {
    world_.root_only("saving samples", [this] { learner_.save_samples(plan_.out / "samples" / fmt::format("step-{}.png", done_)); });
  }

  void save_checkpoint() {
    const auto parts = [this](const fs::path& folder) { learner_.save_parts(folder); };
    checkpoints_.save(done_, parts, [this] {
      log_->sync();
      Checkpoint checkpoint = learner_.checkpoint(done_);
      checkpoint.state["settings"] = io::to_json(identity_of(plan_));
      return checkpoint;
    });
  }

  /// What is due only because this is the end comes after the last checkpoint: a longer run that goes on from it never had it.
  void finish() {
    if (enough_) core::info("{}: ends after step {} of {}, since validations no longer improve", plan_.title, done_, plan_.steps);
    if (plan_.validate_every > 0 && !is_due(plan_.validate_every)) validate();
    if (!is_due(plan_.sample_every)) save_samples();
    checkpoints_.finish();
    world_.root_only("saving what was trained", [this] {
      const auto& writer = checkpoints_.folder().writer();
      const fs::path result = writer.desk() / "result";
      json::object files;
      for (const fs::path& file : learner_.save(result)) files[file.generic_string()] = io::hash_file(result / file);
      writer.seal_files("result", plan_.out);
      json::object record = learner_.record();
      record["steps"] = done_;
      record["images_per_step"] = plan_.images_per_step;
      if (enough_) record["stopped_early"] = true;
      record["files"] = files;
      record["settings"] = io::to_json(identity_of(plan_));
      io::write_json(writer.desk() / "done.json", record);
      writer.seal("done.json", plan_.out / "done.json");
    });
  }

  bool is_due(int64_t every) const { return every > 0 && done_ % every == 0; }
  bool is_last() const { return done_ == plan_.steps || enough_; }

  comm::World& world_;
  Learner& learner_;
  const RunPlan& plan_;
  std::vector<std::string> names_;
  CheckpointWriter checkpoints_;
  std::optional<MetricLog> log_;

  int64_t done_ = 0;      // steps finished
  bool enough_ = false;   // the learner's word for the end
  at::Tensor loss_sums_;  // [n], this rank's shares since the last line of the log
  int64_t loss_steps_ = 0;
  RunClock::time_point loss_start_;
  int64_t ask_every_ = 1, unasked_ = 0;  // steps between two agreements whether to stop, and since the last
  double step_seconds_ = 0, validation_seconds_ = 0;
  std::string note_;  // the last losses, for people
};

/// done.json, if it is there for this plan and its files are the ones that were finished then; else empty.
std::string finished_text(const RunPlan& plan) {
  const fs::path done = plan.out / "done.json";
  if (!fs::exists(done)) return "";
  const std::string where = done.string(), text = io::read_file(done);
  const json::value document = io::parse_json(text, where);
  const json::object& object = io::as_object(document, where);
  expect_same(io::identity_in(object, where), plan, done);
  const int64_t steps = io::json_int(object, "steps", where);
  if (steps > plan.steps)
    throw core::UsageError("{}: was made with {}, now it is {}: what was trained longer cannot go back. Set at least {}, choose another folder, or remove {}",
                           where, plan.length(steps), plan.length(plan.steps), plan.length(steps), plan.out.string());
  if (steps < plan.steps && !object.contains("stopped_early")) return "";
  const json::object& files = io::json_object(object, "files", where);
  for (const auto& item : files) {
    const fs::path file = io::path_inside(plan.out, item.key(), where);
    if (fs::exists(file) && io::hash_file(file) == io::json_string(files, std::string(item.key()).c_str(), where)) continue;
    core::warn("{} is missing or not the file that was finished here: it is made again", file.string());
    return "";
  }
  return text;
}

}  // namespace

io::Identity identity_of(const Task& task, const std::string& what, const core::Visit& config, const std::string& prefix) {
  io::Identity identity = io::identity_of(config, prefix);
  for (const char* length : {".steps", ".epochs", ".images"}) identity.erase(prefix + length);
  std::erase_if(identity, [](const auto& item) {
    static const std::set<std::string> harmless{"log_every", "sample_every", "checkpoint_every", "loader_threads"};
    return harmless.contains(item.first.substr(item.first.rfind('.') + 1));
  });
  identity.emplace("training", what);
  identity.emplace("seed", std::to_string(task.seed));
  identity.emplace("dataset", io::hash_file(task.dataset.root() / "dataset.json"));
  return identity;
}

std::string bound_by_schedule(const std::string& schedule, const std::string& keys) {
  return schedule == "constant" ? "" : fmt::format("{}.schedule = \"{}\"", keys, schedule);
}

std::optional<json::object> finished_run(comm::World& world, const RunPlan& plan) {
  std::string text;
  world.root_only("looking for a finished run", [&] { text = finished_text(plan); });
  text = world.broadcast(text, 0, "a finished run's record");
  if (text.empty()) return std::nullopt;
  core::info("{}: already done in {}", plan.title, plan.out.string());
  return io::parse_json(text, "done.json").as_object();
}

RunResult run(comm::World& world, Learner& learner, const RunPlan& plan) { return Run(world, learner, plan).run(); }

}  // namespace syncdr::training
