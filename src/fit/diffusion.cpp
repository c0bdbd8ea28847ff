#include "syncdr/fit/diffusion.h"

#include "denoiser_model.h"
#include "syncdr/training/run.h"
#include "sample_sheet.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;

void check_denoiser_network(const DiffusionFitConfig& config) {
  const DenoiserUNetConfig& unet = config.unet;
  if (unet.channels.empty() || unet.channels.size() > 16) throw core::UsageError("fit.diffusion.unet.channels has {} levels: needs 1 to 16", unet.channels.size());
  for (const int64_t channels : unet.channels) {
    if (channels % unet.norm_groups != 0 || channels % unet.head_width != 0)
      throw core::UsageError("fit.diffusion.unet.channels holds {}, not a multiple of norm_groups = {} and of head_width = {}", channels, unet.norm_groups,
                             unet.head_width);
  }
  if (config.text.width % config.text.heads != 0)
    throw core::UsageError("fit.diffusion.text.width = {} is not a multiple of heads = {}", config.text.width, config.text.heads);
}

void check_diffusion(const DiffusionFitConfig& config, int ranks) {
  if (config.prompts.size() != 2 || config.prompts[0].empty() || config.prompts[1].empty())
    throw core::UsageError("fit.diffusion.prompts needs two texts, one a domain, as in [\"a photo\", \"a sketch\"]");
  if (config.batch % 2 != 0 || config.batch < ranks)
    throw core::UsageError("fit.diffusion.batch = {}: needs an even number, half of each domain, of at least the {} ranks", config.batch, ranks);
  if (config.sigmas.size() != 2 || config.sigmas[0] > config.sigmas[1])
    throw core::UsageError("fit.diffusion.sigmas = [{}]: needs two values, the least and the largest", fmt::join(config.sigmas, ", "));
  if (config.from.empty() && config.lora_rank > 0)
    throw core::UsageError("fit.diffusion.lora_rank = {} without fit.diffusion.from: additions need a checkpoint to be added to. Set it to 0", config.lora_rank);
  if (!config.from.empty()) return;
  check_denoiser_network(config);
  if (config.zero_terminal_snr && config.prediction == "epsilon")
    throw core::UsageError("fit.diffusion.zero_terminal_snr needs prediction = \"v_prediction\": pure noise says nothing about the original");
}

/// Up to eight images of each domain, [n, 3, S, S] each.
std::vector<at::Tensor> images_of_domains(const data::Dataset& dataset, const std::vector<std::string>& domains, const data::AugmentConfig& augment) {
  std::vector<at::Tensor> images;
  for (const std::string& domain : domains) images.push_back(sample_images(dataset.real(domain, "train"), augment).slice(0, 0, std::nullopt, 2));
  return images;
}

/// The denoiser with its data.
class DiffusionFit : public training::Learner {
 public:
  /// companions: the folder that holds the checkpoint's tokenizer and scheduler.
  DiffusionFit(const training::Task& task, DenoiserNetworks networks, const DiffusionFitConfig& config, fs::path companions)
      : config_(config),
        shape_{.latent = networks.latent_shape(config.augment.crop), .train_steps = networks.scheduler->train_steps()},
        threads_(task.world.device().is_cuda() ? 4 : 1),
        companions_(std::move(companions)),
        model_(task.world, std::move(networks), config, task.seed),
        batches_(task.dataset, task.domain_a, task.domain_b, config, task.seed, training::part_of(config.batch, task.world.rank(), task.world.size()), shape_,
                 [this](const ImageView& view) { return model_.has(view); }),
        samples_(images_of_domains(task.dataset, {task.domain_a, task.domain_b}, config.augment)) {}

  std::vector<std::string> loss_names() const override { return {"loss"}; }
  void begin(int64_t first, int64_t last) override {
    ahead_.emplace([this](int64_t step) { return batches_.load(step); }, first, last, threads_);
  }
  at::Tensor step(int64_t step) override { return model_.step(step, ahead_->next()); }
  double learning_rate(int64_t step) const override { return model_.learning_rate(step); }
  training::Checkpoint checkpoint(int64_t steps_done) const override { return model_.checkpoint(steps_done); }
  void restore(const training::Checkpoint& checkpoint, const std::string& where) override { model_.restore(checkpoint, where); }
  void save_samples(const fs::path& png) override {
    write_sample_sheet(png, at::cat(samples_), at::cat({model_.translate(samples_[0], 1), model_.translate(samples_[1], 0)}));
  }
  std::vector<fs::path> save(const fs::path& folder) override {
    fs::create_directories(folder / "checkpoint");
    for (const char* companion : {"tokenizer", "scheduler"})
      fs::copy(companions_ / companion, folder / "checkpoint" / companion, fs::copy_options::recursive);
    std::vector<fs::path> files;
    for (const fs::path& file : model_.save(folder / "checkpoint")) files.push_back("checkpoint" / file);
    return files;
  }
  std::string advice() const override {
    return fmt::format("Lower fit.diffusion.optimizer.learning_rate (now {}){}", config_.optimizer.learning_rate,
                       config_.precision == "fp32" ? "" : ", or use fit.diffusion.precision = \"fp32\"");
  }

 private:
  DiffusionFitConfig config_;
  DenoiserShape shape_;
  int64_t threads_;  // that read ahead
  fs::path companions_;
  DenoiserModel model_;
  DenoiserBatches batches_;
  std::vector<at::Tensor> samples_;                     // of each domain, [n, 3, S, S] uint8
  std::optional<data::Prefetcher<DenoiserBatch>> ahead_;  // last: its threads use the others
};

}  // namespace

void fit_diffusion(const training::Task& task, const DiffusionFitConfig& config) {
  check_diffusion(config, task.world.size());
  const std::string title = fmt::format("diffusion of {} and {}", task.domain_a, task.domain_b);
  const std::string bound_by = training::bound_by_schedule(config.optimizer.schedule, "fit.diffusion.optimizer");
  const training::RunPlan plan = training::plan_of(task, title, config, "fit.diffusion", bound_by, config.batch);
  if (training::finished_run(task.world, plan)) return;
  const fs::path autoencoder = task.out / "autoencoder", checkpoint = task.out / "checkpoint";
  if (config.from.empty()) fit_autoencoder({task.world, task.dataset, task.domain_a, task.domain_b, task.seed, autoencoder}, config.autoencoder);
  task.world.root_only("writing tokenizer and scheduler", [&] { write_companions(config, checkpoint); });
  DenoiserNetworks networks = config.from.empty() ? make_networks(config, autoencoder, checkpoint, task.seed) : load_networks(config);
  DiffusionFit fit(task, std::move(networks), config, checkpoint);
  training::run(task.world, fit, plan);
}

}  // namespace syncdr::fit
