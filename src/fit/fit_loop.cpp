#include "fit_loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>

#include <boost/json/object.hpp>
#include <chrono>
#include <optional>

#include "syncdr/core/log.h"
#include "syncdr/core/progress.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"
#include "syncdr/training/checkpoint_writer.h"
#include "syncdr/training/metric_log.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;
using FitClock = std::chrono::steady_clock;

/// A loss for people: its name in the log without "loss_".
std::string short_name(const std::string& name) { return name.starts_with("loss_") ? name.substr(5) : name; }

/// One training in its folder.
class FitRun {
 public:
  FitRun(comm::World& world, FitModel& model, const FitPlan& plan)
      : world_(world), model_(model), plan_(plan), names_(model.loss_names()), checkpoints_(world, plan.out / "checkpoints") {}

  void run() {
    resume();
    if (world_.is_root()) log_.emplace(plan_.out / "log.jsonl", done_ + 1);
    train();
    finish();
  }

 private:
  void resume();
  void train();
  void after_step();
  void log_losses();
  void check_finite(const at::Tensor& means) const;
  void describe(const double* losses);
  void save_checkpoint();
  void finish();

  comm::World& world_;
  FitModel& model_;
  const FitPlan& plan_;
  std::vector<std::string> names_;
  training::CheckpointWriter checkpoints_;
  std::optional<training::MetricLog> log_;

  int64_t done_ = 0;      // steps finished
  at::Tensor loss_sums_;  // [n], this rank's shares since the last line of the log
  int64_t loss_steps_ = 0;
  FitClock::time_point loss_start_;
  std::string note_;  // the last losses, for people
};

void FitRun::resume() {
  const auto found = checkpoints_.folder().latest();
  const int64_t step = found ? found->step : 0, newest = world_.all_reduce_max(step, "agreeing on a checkpoint");
  if (step != newest)
    throw core::IoError("{}: this rank sees a checkpoint of step {}, another one of step {}: the folder must be shared by all ranks", plan_.out.string(),
                        step, newest);
  if (!found) return;
  const std::string where = (plan_.out / "checkpoints" / fmt::format("step-{}", step)).string();
  if (io::json_string(found->state, "identity", where) != plan_.identity)
    throw core::UsageError("{} belongs to a run with other settings or data: use them, another output folder, or remove {}", where, plan_.out.string());
  model_.restore(*found, where);
  done_ = step;
  core::info("{}: goes on after step {}", plan_.title, step);
}

void FitRun::train() {
  model_.begin(done_, plan_.steps);
  core::Progress progress(plan_.title, plan_.steps, "steps", done_);
  loss_start_ = FitClock::now();
  while (done_ < plan_.steps) {
    const at::Tensor losses = model_.step(done_);
    SYNCDR_ASSERT(losses.numel() == static_cast<int64_t>(names_.size()), "{} losses, {} names", losses.numel(), names_.size());
    loss_sums_ = loss_steps_++ == 0 ? losses : loss_sums_ + losses;
    ++done_;
    after_step();
    progress.advance(1, note_);
  }
}

void FitRun::after_step() {
  const bool last = done_ == plan_.steps;
  const bool stop = world_.all_reduce_max(core::stop_requested() ? 1 : 0, "agreeing whether to stop") > 0 && !last;
  const bool save = stop || done_ % plan_.checkpoint_every == 0;
  if (save || last || done_ % plan_.log_every == 0) log_losses();  // before saving: it refuses losses that are no longer finite
  if (last || (plan_.sample_every > 0 && done_ % plan_.sample_every == 0))
    world_.root_only("saving samples", [this] { model_.save_samples(plan_.out / "samples" / fmt::format("step-{}.png", done_)); });
  if (save) save_checkpoint();
  if (!stop) return;
  checkpoints_.finish();
  throw core::StopRequested("{}: stopped on request after step {} of {}, which is saved", plan_.title, done_, plan_.steps);
}

void FitRun::describe(const double* losses) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < names_.size(); ++i) parts.push_back(fmt::format("{} {:.4g}", short_name(names_[i]), losses[i]));
  note_ = fmt::format("{}", fmt::join(parts, ", "));
}

void FitRun::check_finite(const at::Tensor& means) const {
  if (at::isfinite(means).all().item<bool>()) return;
  throw core::DataError("{}: a loss is no longer finite at step {} ({}). {}, remove {} and run again", plan_.title, done_, note_, model_.advice(),
                        plan_.out.string());
}

void FitRun::log_losses() {
  world_.all_reduce_sum(loss_sums_, "summing losses");
  const at::Tensor means = (loss_sums_ / static_cast<double>(loss_steps_)).to(at::kCPU, at::kDouble);
  const auto* losses = means.const_data_ptr<double>();
  describe(losses);
  check_finite(means);
  const double seconds = std::chrono::duration<double>(FitClock::now() - loss_start_).count();
  training::MetricLog::Values values;
  for (size_t i = 0; i < names_.size(); ++i) values.emplace_back(names_[i], losses[i]);
  values.emplace_back("learning_rate", model_.learning_rate(done_ - 1));
  values.emplace_back("images_per_second", static_cast<double>(plan_.images_per_step * loss_steps_) / seconds);
  if (log_) log_->append(done_, values);
  loss_steps_ = 0;
  loss_start_ = FitClock::now();
}

void FitRun::save_checkpoint() {
  checkpoints_.save([this] {
    log_->sync();
    training::Checkpoint checkpoint = model_.checkpoint(done_);
    checkpoint.state["identity"] = plan_.identity;
    return checkpoint;
  });
}

void FitRun::finish() {
  checkpoints_.finish();
  world_.root_only("saving what was trained", [this] {
    const auto& writer = checkpoints_.folder().writer();
    const fs::path result = writer.desk() / "result";
    boost::json::object files;
    for (const fs::path& file : model_.save(result)) files[file.generic_string()] = io::hash_file(result / file);
    writer.seal_files("result", plan_.out);
    io::write_json(writer.desk() / "done.json", {{"identity", plan_.identity}, {"steps", plan_.steps}, {"files", files}});
    writer.seal("done.json", plan_.out / "done.json");
  });
}

/// Whether done.json is there for this identity, and its files are the ones that were finished then.
bool is_finished(const FitPlan& plan) {
  const fs::path done = plan.out / "done.json";
  if (!fs::exists(done)) return false;
  const std::string where = done.string();
  const boost::json::value document = io::read_json(done);
  const boost::json::object& object = io::as_object(document, where);
  if (io::json_string(object, "identity", where) != plan.identity)
    throw core::UsageError("{}: made with other settings or from other data: use them, another output folder, or remove {}", where, plan.out.string());
  const boost::json::object& files = io::json_object(object, "files", where);
  for (const auto& item : files) {
    const fs::path file = io::path_inside(plan.out, item.key(), where);
    if (fs::exists(file) && io::hash_file(file) == io::json_string(files, std::string(item.key()).c_str(), where)) continue;
    core::warn("{} is missing or not the file that was finished here: it is made again", file.string());
    return false;
  }
  return true;
}

}  // namespace

std::string fit_identity(const std::string& what, uint64_t seed, const data::Dataset& dataset, const core::Visit& config) {
  return fmt::format("# {}, seed {}, data {}\n{}", what, seed, io::hash_file(dataset.root() / "dataset.json"), core::write_config(config));
}

bool fit_is_done(comm::World& world, const FitPlan& plan) {
  bool done = false;
  world.root_only("looking for a finished fit", [&] { done = is_finished(plan); });
  done = world.all_reduce_max(done ? 1 : 0, "agreeing whether a fit is finished") > 0;
  if (done) core::info("{}: already done in {}", plan.title, plan.out.string());
  return done;
}

void run_fit(comm::World& world, FitModel& model, const FitPlan& plan) { FitRun(world, model, plan).run(); }

}  // namespace syncdr::fit
