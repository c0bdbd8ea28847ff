#include "syncdr/fit/cut.h"

#include "cut_model.h"
#include "syncdr/training/run.h"
#include "sample_sheet.h"
#include "syncdr/gan/generator_file.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;

void check(const CutConfig& config, int ranks) {
  if (config.batch < ranks) throw core::UsageError("fit.cut.batch = {} is less than the {} ranks: raise it or start fewer ranks", config.batch, ranks);
  if (config.augment.crop % 4 != 0 || config.augment.crop < 16)
    throw core::UsageError("fit.cut.augment.crop = {}: CUT needs a multiple of 4, at least 16", config.augment.crop);
}

/// One direction's networks with their data.
class CutFit : public training::Learner {
 public:
  CutFit(const training::Task& task, const CutConfig& config)
      : config_(config),
        // Decoding is cheap beside a step; on a CPU one thread of it is already one core's share.
        threads_(task.world.device().is_cuda() ? 4 : 1),
        batches_(task.dataset, task.domain_a, task.domain_b, {.batch = config.batch, .augment = config.augment, .batch_setting = "fit.cut.batch"}, task.seed,
                 training::part_of(config.batch, task.world.rank(), task.world.size())),
        model_(task.world, config, task.seed),
        samples_(sample_images(task.dataset.real(task.domain_a, "train"), config.augment)) {}

  std::vector<std::string> loss_names() const override { return {"loss_discriminator", "loss_gan", "loss_nce"}; }
  void begin(int64_t first, int64_t last) override {
    ahead_.emplace([this](int64_t step) { return batches_.load(step); }, first, last, threads_);
  }
  at::Tensor step(int64_t step) override { return model_.step(step, ahead_->next()); }
  double learning_rate(int64_t step) const override { return model_.learning_rate(step); }

  training::Checkpoint checkpoint(int64_t steps_done) const override { return model_.checkpoint(steps_done); }
  void restore(const training::Checkpoint& checkpoint, const std::string& where) override { model_.restore(checkpoint, where); }

  void save_samples(const fs::path& png) override { write_sample_sheet(png, samples_, model_.translate(samples_)); }
  std::vector<fs::path> save(const fs::path& folder) override {
    gan::save_generator(folder / "generator.safetensors", model_.kept_generator());
    return {"generator.safetensors"};
  }
  std::string advice() const override {
    return fmt::format("Lower fit.cut.learning_rate (now {}) and fit.cut.discriminator_learning_rate (now {}){}", config_.learning_rate,
                       config_.discriminator_learning_rate, config_.precision == "fp32" ? "" : ", or use fit.cut.precision = \"fp32\"");
  }

 private:
  CutConfig config_;
  int64_t threads_;  // that read ahead
  UnpairedBatches batches_;
  CutModel model_;
  at::Tensor samples_;  // [n, 3, S, S] uint8
  std::optional<data::Prefetcher<UnpairedBatch>> ahead_;  // last: its threads use the batches
};

}  // namespace

void fit_cut(const training::Task& task, const CutConfig& config) {
  check(config, task.world.size());
  const std::string title = fmt::format("CUT {} -> {}", task.domain_a, task.domain_b);
  const training::RunPlan plan = training::plan_of(task, title, config, "fit.cut", training::bound_by_schedule(config.schedule, "fit.cut"), config.batch);
  if (training::finished_run(task.world, plan)) return;
  CutFit fit(task, config);
  training::run(task.world, fit, plan);
}

}  // namespace syncdr::fit
