#include "syncdr/fit/diffusion.h"

#include <optional>

#include "checks.h"
#include "denoiser_step.h"
#include "sample_sheet.h"
#include "syncdr/core/log.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/diffusion/lora.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/ema.h"
#include "syncdr/training/optimizer.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;

constexpr const char* lora_file = "pytorch_lora_weights.safetensors";  // as load_lora_weights looks for in a folder

void check_denoiser_network(const DiffusionFitConfig& config) {
  const DenoiserUNetConfig& unet = config.unet;
  if (unet.channels.empty() || unet.channels.size() > 16)
    throw core::UsageError("fit.diffusion.unet.channels has {} levels: needs 1 to 16", unet.channels.size());
  for (const int64_t channels : unet.channels) {
    if (channels % unet.norm_groups != 0 || channels % unet.head_width != 0)
      throw core::UsageError("fit.diffusion.unet.channels holds {}, not a multiple of norm_groups = {} and of head_width = {}", channels, unet.norm_groups,
                             unet.head_width);
  }
  if (config.text.width % config.text.heads != 0)
    throw core::UsageError("fit.diffusion.text.width = {} is not a multiple of heads = {}", config.text.width, config.text.heads);
}

void check_settings(const DiffusionFitConfig& config, int64_t domains, int ranks) {
  const auto empty = [](const std::string& prompt) { return prompt.empty(); };
  if (std::ssize(config.prompts) != domains || std::any_of(config.prompts.begin(), config.prompts.end(), empty))
    throw core::UsageError("fit.diffusion.prompts needs {} texts, one per domain, as in [\"a photo\", \"a sketch\"]", domains);
  if (config.batch % domains != 0 || config.batch < ranks)
    throw core::UsageError("fit.diffusion.batch = {}: needs a multiple of the {} domains, as many images of each, of at least the {} ranks", config.batch,
                           domains, ranks);
  check_sigmas(config.sigmas, "fit.diffusion");
  if (config.from.empty() && config.lora_rank > 0)
    throw core::UsageError("fit.diffusion.lora_rank = {} without fit.diffusion.from: additions need a checkpoint to be added to. Set it to 0",
                           config.lora_rank);
  if (!config.from.empty()) return;
  check_denoiser_network(config);
  if (config.zero_terminal_snr && config.prediction == "epsilon")
    throw core::UsageError("fit.diffusion.zero_terminal_snr needs prediction = \"v_prediction\": pure noise says nothing about the original");
  check_side(config.augment.crop, int64_t{1} << (config.autoencoder.channels.size() - 1), "fit.diffusion");
  check_prompts(config);
}

c10::ScalarType dtype_named(const std::string& name) { return name == "fp16" ? at::kHalf : name == "bf16" ? at::kBFloat16 : at::kFloat; }

/// A diffusion translator with its optimizer and data, on every rank alike.
class DiffusionFit : public training::Learner {
 public:
  /// companions: the folder that holds the checkpoint's tokenizer and scheduler.
  DiffusionFit(const training::Task& task, DenoiserNetworks networks, const DiffusionFitConfig& config, fs::path companions)
      : config_(config), companions_(std::move(companions)), denoiser_(task, task.domains, std::move(networks), options_of(config, std::ssize(task.domains))),
        networks_(denoiser_.networks()), parts_(networks_, config, task.seed), parallel_(task.world, *parts_),
        optimizer_(training::make_optimizer(parallel_.parameters(), config.optimizer)) {
    for (const auto& domain : task.domains) samples_.push_back(sample_images(task.dataset.real(domain, "train"), config.augment, 8));
    if (config.ema > 0) ema_.emplace(*parts_, config.ema);
    if (parts_->with_text) return;
    const torch::NoGradGuard no_grad;
    frozen_texts_ = networks_.text_encoder->forward(networks_.tokens);
  }

  std::vector<std::string> loss_names() const override { return {"loss"}; }
  void begin(int64_t first, int64_t last) override { denoiser_.begin(first, last); }
  double learning_rate(int64_t step) const override { return training::learning_rate_at(config_.optimizer, step, config_.steps); }

  at::Tensor step(int64_t step) override {
    training::set_learning_rate(*optimizer_, learning_rate(step));
    parallel_.before_forward();
    if (parts_->lora) parts_->lora->put_in();  // in float32, as merge() adds
    const at::Tensor share = denoiser_.loss_share(denoiser_.next(), [this](const DenoiserBatch& batch) {
      return texts_of_images(networks_.unet->prepare(texts()), batch.prompts.to(denoiser_.device()));
    });
    parallel_.backward(share);
    training::clip_gradient(parallel_.parameters(), config_.optimizer.clip);
    optimizer_->step();
    if (ema_) ema_->update(*parts_);
    return share.detach().reshape({1});
  }

  training::Checkpoint checkpoint(int64_t steps_done) const override {
    training::Checkpoint checkpoint{.step = steps_done};
    training::put_prefix(checkpoint.tensors, nn::state_of(*parts_), "model.");
    training::put_prefix(checkpoint.tensors, training::optimizer_state(*optimizer_), "optimizer.");
    training::put_average(checkpoint, ema_);
    return checkpoint;
  }

  void restore(const training::Checkpoint& checkpoint, const std::string& where) override {
    nn::load_state(*parts_, training::take_prefix(checkpoint.tensors, "model."), where);
    training::load_optimizer_state(*optimizer_, training::take_prefix(checkpoint.tensors, "optimizer."), where);
    training::take_average(checkpoint, ema_, where);
  }

  /// Each domain's images in the look of the next one.
  void save_samples(const fs::path& png) override {
    std::vector<at::Tensor> translated;
    with_kept_weights([&] {
      const training::Autocast autocast = denoiser_.arithmetic();
      const at::Tensor hidden = texts();
      const auto text = [&](int64_t row) { return networks_.unet->prepare(hidden.narrow(0, row, 1)); };
      const int64_t domains = std::ssize(samples_);
      for (int64_t k = 0; k < domains; ++k) translated.push_back(denoiser_.sample(samples_[static_cast<size_t>(k)], text((k + 1) % domains), text(domains)));
    });
    write_sample_sheet(png, at::cat(samples_), at::cat(translated));
  }

  /// A checkpoint folder: tokenizer and scheduler, unet, text_encoder and vae, and its index. Beside it the low-rank additions alone, if they are all that
  /// was trained.
  std::vector<fs::path> save(const fs::path& folder) override {
    const fs::path checkpoint = folder / "checkpoint";
    fs::create_directories(checkpoint);
    for (const char* companion : {"tokenizer", "scheduler"}) fs::copy(companions_ / companion, checkpoint / companion, fs::copy_options::recursive);
    const c10::ScalarType dtype = dtype_named(config_.dtype);
    with_kept_weights([&] {
      if (parts_->lora) parts_->lora->merge();
      diffusion::save_unet(checkpoint / "unet", networks_.unet, dtype);
      if (parts_->lora) parts_->lora->split();
      if (writes_lora()) diffusion::save_lora(folder / lora_file, parts_->lora->tensors(), config_.lora_rank);
      diffusion::save_text_encoder(checkpoint / "text_encoder", networks_.text_encoder, dtype);
      diffusion::save_autoencoder(checkpoint / "vae", networks_.autoencoder, dtype);
    });
    diffusion::save_model_index(checkpoint, config_.layout == "instruct" ? "StableDiffusionInstructPix2PixPipeline" : "StableDiffusionPipeline");
    std::vector<fs::path> saved{"checkpoint/unet/diffusion_pytorch_model.safetensors", "checkpoint/text_encoder/model.safetensors",
                                "checkpoint/vae/diffusion_pytorch_model.safetensors", "checkpoint/model_index.json"};
    if (writes_lora()) saved.emplace_back(lora_file);
    else if (parts_->lora) core::info("no {} is written: the UNet has got channels that its checkpoint lacks", lora_file);
    return saved;
  }

  std::string advice() const override {
    return fmt::format("Lower fit.diffusion.optimizer.learning_rate (now {}){}", config_.optimizer.learning_rate,
                       config_.precision == "fp32" ? "" : ", or use fit.diffusion.precision = \"fp32\"");
  }

 private:
  /// Channels that the checkpoint's network does not have are no low-rank addition to it.
  bool writes_lora() const { return parts_->lora && !networks_.new_condition; }

  /// The prompts' hidden states, [n + 1, L, D]; no prompt is the last.
  at::Tensor texts() { return parts_->with_text ? networks_.text_encoder->forward(networks_.tokens) : frozen_texts_; }

  /// Runs work while the networks hold the moving average, if there is one, with low-rank additions put in.
  void with_kept_weights(const std::function<void()>& work) {
    const torch::NoGradGuard no_grad;
    io::NamedTensors trained;
    const io::NamedTensors state = nn::state_of(*parts_);
    if (ema_) {
      for (const auto& [name, tensor] : state) trained.emplace(name, tensor.clone());
      for (const auto& [name, tensor] : state) tensor.copy_(ema_->average().at(name));
    }
    if (parts_->lora) parts_->lora->put_in();
    work();
    for (const auto& [name, tensor] : trained) state.at(name).copy_(tensor);
  }

  DiffusionFitConfig config_;
  fs::path companions_;
  DenoiserStep denoiser_;
  DenoiserNetworks& networks_;
  TrainedParts parts_;
  training::DataParallel parallel_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::optional<training::Ema> ema_;
  at::Tensor frozen_texts_;          // [n + 1, L, D] of a text encoder that is not trained
  std::vector<at::Tensor> samples_;  // of each domain, [n, 3, S, S] uint8
};

}  // namespace

void check_diffusion(const training::Task& task, const DiffusionFitConfig& config) {
  const int64_t domains = std::ssize(task.domains);
  if (config.from.empty()) check_autoencoder({task.world, task.dataset, task.domains, task.seed, task.out / "autoencoder"}, config.autoencoder);
  else check_checkpoint(config);
  check_settings(config, domains, task.world.size());
  check_training(config.optimizer, config.ema, "fit.diffusion");
  check_images(task, options_of(config, domains).images);
}

void fit_diffusion(const training::Task& task, const DiffusionFitConfig& config) {
  check_diffusion(task, config);
  const std::string title = fmt::format("diffusion of {}", fmt::join(task.domains, " and "));
  training::RunPlan plan = training::plan_of(task, title, config, "fit.diffusion", config.batch);
  plan.bound_by = training::bound_by_schedule(config.optimizer.schedule, "fit.diffusion.optimizer");
  if (training::finished_run(task.world, plan)) return;
  const fs::path autoencoder = task.out / "autoencoder", checkpoint = task.out / "checkpoint";
  task.world.root_only("writing tokenizer and scheduler", [&] { write_companions(config, checkpoint); });
  if (config.from.empty()) fit_autoencoder({task.world, task.dataset, task.domains, task.seed, autoencoder}, config.autoencoder);
  DenoiserNetworks networks = config.from.empty() ? make_networks(config, autoencoder, checkpoint, task.seed) : load_networks(config);
  DiffusionFit fit(task, std::move(networks), config, checkpoint);
  training::run(task.world, fit, plan);
}

}  // namespace syncdr::fit
