#include "syncdr/fit/cut.h"

#include "cut_model.h"
#include "fit_loop.h"
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

FitPlan plan_of(const data::Dataset& dataset, const std::string& source, const std::string& target, const CutConfig& config, uint64_t seed, const fs::path& out) {
  const std::string what = fmt::format("{} -> {}", source, target);
  return fit_plan("CUT " + what, what, config.batch, config, seed, dataset, out);
}

/// One direction's networks with their data.
class CutFit : public FitModel {
 public:
  CutFit(comm::World& world, const data::Dataset& dataset, const std::string& source, const std::string& target, const CutConfig& config, uint64_t seed)
      : config_(config),
        // Decoding is cheap beside a step; on a CPU one thread of it is already one core's share.
        threads_(world.device().is_cuda() ? 4 : 1),
        batches_(dataset, source, target, {.batch = config.batch, .augment = config.augment, .batch_setting = "fit.cut.batch"}, seed,
                 training::part_of(config.batch, world.rank(), world.size())),
        model_(world, config, seed),
        samples_(sample_images(dataset.real(source, "train"), config.augment)) {}

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

void fit_cut(comm::World& world, const data::Dataset& dataset, const std::string& source, const std::string& target, const CutConfig& config,
             uint64_t seed, const fs::path& out) {
  check(config, world.size());
  const FitPlan plan = plan_of(dataset, source, target, config, seed, out);
  if (fit_is_done(world, plan)) return;
  CutFit fit(world, dataset, source, target, config, seed);
  run_fit(world, fit, plan);
}

}  // namespace syncdr::fit
