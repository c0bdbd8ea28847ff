#include "syncdr/fit/cut.h"

#include <chrono>

#include "cut_model.h"
#include "sample_sheet.h"
#include "syncdr/core/log.h"
#include "syncdr/core/progress.h"
#include "syncdr/core/stop.h"
#include "syncdr/gan/generator_file.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"
#include "syncdr/training/metric_log.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

void check(const CutConfig& config, int ranks) {
  if (config.batch < ranks) throw core::UsageError("fit.cut.batch = {} is less than the {} ranks: raise it or start fewer ranks", config.batch, ranks);
  if (config.augment.crop % 4 != 0 || config.augment.crop < 16)
    throw core::UsageError("fit.cut.augment.crop = {}: CUT needs a multiple of 4, at least 16", config.augment.crop);
}

/// Everything that the result is a function of, as text. How often a run reports does not belong to it.
std::string identity_of(const data::Dataset& dataset, const std::string& source, const std::string& target, CutConfig config, uint64_t seed) {
  const CutConfig defaults;
  config.log_every = defaults.log_every;
  config.sample_every = defaults.sample_every;
  config.checkpoint_every = defaults.checkpoint_every;
  return fmt::format("# {} -> {}, seed {}, data {}\n{}", source, target, seed, io::hash_file(dataset.root() / "dataset.json"),
                     core::write_config(core::visit_of(config)));
}

/// The training of one direction in its folder.
class CutRun {
 public:
  CutRun(comm::World& world, const data::Dataset& dataset, const std::string& source, const std::string& target, const CutConfig& config, uint64_t seed,
         const fs::path& out)
      : world_(world),
        config_(config),
        title_(fmt::format("CUT {} -> {}", source, target)),
        out_(out),
        identity_(identity_of(dataset, source, target, config, seed)),
        batches_(dataset, source, target, config, seed, training::part_of(config.batch, world.rank(), world.size())),
        model_(world, config, seed),
        checkpoints_(out / "checkpoints"),
        samples_(sample_images(dataset.real(source, "train"), config.augment)) {}

  void run() {
    resume();
    if (world_.is_root()) log_.emplace(out_ / "log.jsonl", done_ + 1);
    train();
    finish();
  }

 private:
  void resume();
  void train();
  void after_step();
  void log_losses();
  void save_checkpoint();
  void save_samples();
  void finish();

  comm::World& world_;
  CutConfig config_;
  std::string title_;
  fs::path out_;
  std::string identity_;
  CutBatches batches_;
  CutModel model_;
  training::CheckpointFolder checkpoints_;
  at::Tensor samples_;  // [n, 3, S, S] uint8
  std::optional<training::MetricLog> log_;

  int64_t done_ = 0;      // steps finished
  at::Tensor loss_sums_;  // [3], this rank's shares since the last line of the log
  int64_t loss_steps_ = 0;
  Clock::time_point loss_start_;
  std::string note_;
};

void CutRun::resume() {
  const auto found = checkpoints_.latest();
  const int64_t step = found ? found->step : 0, newest = world_.all_reduce_max(step, "agreeing on a checkpoint");
  if (step != newest) throw core::IoError("{}: this rank sees a checkpoint of step {}, another one of step {}: the folder must be shared by all ranks", out_.string(), step, newest);
  if (!found) return;
  const std::string where = (out_ / "checkpoints" / fmt::format("step-{}", step)).string();
  if (io::json_string(found->state, "identity", where) != identity_)
    throw core::UsageError("{} belongs to a run with other settings or data: use them, another output folder, or remove {}", where, out_.string());
  model_.restore(*found, where);
  done_ = step;
  core::info("{}: goes on after step {}", title_, step);
}

void CutRun::train() {
  // Decoding is cheap beside a step; on a CPU one thread of it is already one core's share.
  const int64_t threads = world_.device().is_cuda() ? 4 : 1;
  data::Prefetcher<CutBatch> batches([this](int64_t step) { return batches_.load(step); }, done_, config_.steps, threads);
  core::Progress progress(title_, config_.steps, "steps", done_);
  loss_start_ = Clock::now();
  while (done_ < config_.steps) {
    const at::Tensor losses = model_.step(done_, batches.next());
    loss_sums_ = loss_steps_++ == 0 ? losses : loss_sums_ + losses;
    ++done_;
    after_step();
    progress.advance(1, note_);
  }
}

void CutRun::after_step() {
  const bool last = done_ == config_.steps;
  const bool stop = world_.all_reduce_max(core::stop_requested() ? 1 : 0, "agreeing whether to stop") > 0 && !last;
  const bool save = stop || done_ % config_.checkpoint_every == 0;
  if (save || last || done_ % config_.log_every == 0) log_losses();  // before saving: it refuses losses that are no longer finite
  if (last || (config_.sample_every > 0 && done_ % config_.sample_every == 0)) save_samples();
  if (save) save_checkpoint();
  if (stop) throw core::StopRequested("{}: stopped on request after step {} of {}, which is saved", title_, done_, config_.steps);
}

void CutRun::log_losses() {
  world_.all_reduce_sum(loss_sums_, "summing losses");
  const at::Tensor means = (loss_sums_ / static_cast<double>(loss_steps_)).to(at::kCPU, at::kDouble);
  const auto* loss = means.const_data_ptr<double>();
  if (!at::isfinite(means).all().item<bool>())
    throw core::DataError("{}: a loss is no longer finite at step {} (discriminator {}, GAN {}, NCE {}). Lower fit.cut.learning_rate (now {}) and "
                          "fit.cut.discriminator_learning_rate (now {}){}, remove {} and run again",
                          title_, done_, loss[0], loss[1], loss[2], config_.learning_rate, config_.discriminator_learning_rate,
                          config_.precision == "fp32" ? "" : ", or use fit.cut.precision = \"fp32\"", out_.string());
  const double seconds = std::chrono::duration<double>(Clock::now() - loss_start_).count();
  const double rate = static_cast<double>(config_.batch * loss_steps_) / seconds;
  if (log_)
    log_->append(done_, {{"loss_discriminator", loss[0]}, {"loss_gan", loss[1]}, {"loss_nce", loss[2]},
                         {"learning_rate", model_.learning_rate(done_ - 1)}, {"images_per_second", rate}});
  note_ = fmt::format("D {:.3f} GAN {:.3f} NCE {:.3f}", loss[0], loss[1], loss[2]);
  loss_steps_ = 0;
  loss_start_ = Clock::now();
}

void CutRun::save_checkpoint() {
  world_.root_only("saving a checkpoint", [this] {
    training::Checkpoint checkpoint = model_.checkpoint(done_);
    checkpoint.state["identity"] = identity_;
    checkpoints_.save(checkpoint);
  });
}

void CutRun::save_samples() {
  world_.root_only("saving samples", [this] {
    write_sample_sheet(out_ / "samples" / fmt::format("step-{}.png", done_), samples_, model_.translate(samples_));
  });
}

void CutRun::finish() {
  world_.root_only("saving the generator", [this] {
    const fs::path file = out_ / "generator.safetensors";
    gan::save_generator(file, model_.kept_generator());
    io::write_json(out_ / "done.json", {{"identity", identity_}, {"steps", config_.steps}, {"generator", io::hash_file(file)}});
  });
}

/// Whether an earlier run left its result here; a generator that changed since is made again.
bool is_done(const fs::path& out, const std::string& identity) {
  const fs::path done = out / "done.json", generator = out / "generator.safetensors";
  if (!fs::exists(done)) return false;
  const boost::json::value document = io::read_json(done);
  const auto& object = io::as_object(document, done.string());
  if (io::json_string(object, "identity", done.string()) != identity)
    throw core::UsageError("{}: made with other settings or from other data: use them, another output folder, or remove {}", done.string(), out.string());
  if (fs::exists(generator) && io::hash_file(generator) == io::json_string(object, "generator", done.string())) return true;
  core::warn("{} is missing or not the file that was finished here: it is made again", generator.string());
  return false;
}

}  // namespace

void fit_cut(comm::World& world, const data::Dataset& dataset, const std::string& source, const std::string& target, const CutConfig& config,
             uint64_t seed, const fs::path& out) {
  check(config, world.size());
  bool done = false;
  world.root_only("looking for a finished fit", [&] { done = is_done(out, identity_of(dataset, source, target, config, seed)); });
  if (world.all_reduce_max(done ? 1 : 0, "agreeing whether a fit is finished") > 0) {
    core::info("CUT {} -> {}: already done in {}", source, target, out.string());
    return;
  }
  CutRun(world, dataset, source, target, config, seed, out).run();
}

}  // namespace syncdr::fit
