#include "syncdr/fit/autoencoder.h"

#include <cmath>
#include <optional>

#include "checks.h"
#include "losses.h"
#include "sample_sheet.h"
#include "syncdr/core/philox.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/autocast.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/ema.h"
#include "syncdr/training/optimizer.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;

diffusion::AutoencoderConfig architecture_of(const AutoencoderFitConfig& config, double scaling_factor) {
  return {.latent_channels = config.latent_channels,
          .channels = config.channels,
          .layers = config.layers,
          .norm_groups = config.norm_groups,
          .scaling_factor = scaling_factor,
          .mid_attention = config.attention};
}

/// Residual branches begin at 0, so that the network begins shallow (Goyal et al., 2017). On the emoji set step 700 then had the losses that step 900 has
/// without it.
void silence_residuals(torch::nn::Module& network) {
  const torch::NoGradGuard no_grad;
  for (auto& item : network.named_parameters()) {
    if (item.key().find(".conv2.") != std::string::npos) item.value().zero_();
  }
}

diffusion::Autoencoder new_autoencoder(const AutoencoderFitConfig& config, uint64_t seed, c10::Device device) {
  diffusion::Autoencoder autoencoder(architecture_of(config, 1));
  nn::initialise(*autoencoder, "autoencoder", seed);
  silence_residuals(*autoencoder);
  autoencoder->to(device);
  return autoencoder;
}

/// Pictures that are trained on in pieces are looked at, and measured, whole.
data::AugmentConfig whole_view(const AutoencoderFitConfig& config) {
  const int64_t factor = int64_t{1} << (config.channels.size() - 1);
  data::AugmentConfig view = config.augment;
  view.crop = view.resize / factor * factor;
  return view;
}

const std::string keys = "fit.diffusion.autoencoder";

UnpairedOptions images_of(const AutoencoderFitConfig& config) {
  return {.batch = config.batch, .augment = config.augment, .extra = config.extra_split, .keys = keys};
}

void check_network(const AutoencoderFitConfig& config, int ranks) {
  if (config.batch < ranks)
    throw core::UsageError("fit.diffusion.autoencoder.batch = {} is less than the {} ranks: raise it or start fewer ranks", config.batch, ranks);
  if (config.channels.empty() || config.channels.size() > 8) throw core::UsageError("fit.diffusion.autoencoder.channels: use 1 to 8 levels");
  const int64_t factor = int64_t{1} << (config.channels.size() - 1);
  if (config.augment.crop % factor != 0)
    throw core::UsageError("fit.diffusion.autoencoder.augment.crop = {}: with {} levels it must be a multiple of {}", config.augment.crop,
                           config.channels.size(), factor);
  for (const int64_t channels : config.channels) {
    if (channels % config.norm_groups != 0)
      throw core::UsageError("fit.diffusion.autoencoder.norm_groups = {} does not divide a level's {} channels", config.norm_groups, channels);
  }
}

/// Sum and sum of squares of all values.
struct Moments {
  double sum = 0, squares = 0;
  int64_t count = 0;

  void add(const at::Tensor& values) {
    const at::Tensor exact = values.to(at::kDouble);
    sum += exact.sum().item<double>();
    squares += exact.square().sum().item<double>();
    count += exact.numel();
  }
  double deviation() const {
    const auto n = static_cast<double>(count);
    return std::sqrt(std::max(squares / n - (sum / n) * (sum / n), 0.0));
  }
};

std::vector<data::ShardList> training_lists(const training::Task& task) {
  std::vector<data::ShardList> lists;
  for (const auto& domain : task.domains) lists.push_back(task.dataset.real(domain, "train"));
  return lists;
}

/// An autoencoder in training: network, optimizer and images of all domains, on every rank alike.
class AutoencoderFit : public training::Learner {
 public:
  AutoencoderFit(const training::Task& task, const AutoencoderFitConfig& config)
      : world_(task.world), config_(config), seed_(task.seed), device_(task.world.device()),
        part_(training::part_of(config.batch, task.world.rank(), task.world.size())), lists_(training_lists(task)),
        batches_(task.dataset, task.domains, images_of(config), seed_, part_), autoencoder_(new_autoencoder(config, seed_, device_)),
        parallel_(task.world, *autoencoder_), optimizer_(training::make_optimizer(parallel_.parameters(), config.optimizer)) {
    if (config.ema > 0) ema_.emplace(*autoencoder_, config.ema);
  }

  std::vector<std::string> loss_names() const override { return {"loss_pixel", "loss_chroma", "loss_gradient", "loss_kl"}; }

  void begin(int64_t first, int64_t last) override {
    ahead_.emplace([this](int64_t step) { return batches_.load(step); }, first, last, world_.threads(0));
  }

  double learning_rate(int64_t step) const override { return training::learning_rate_at(config_.optimizer, step, config_.steps); }

  at::Tensor step(int64_t step) override {
    const UnpairedBatch batch = ahead_->next();
    const at::Tensor images = nn::from_bytes(at::cat(batch), device_);
    const double share = static_cast<double>(images.size(0)) / static_cast<double>(std::ssize(lists_) * config_.batch);
    training::set_learning_rate(*optimizer_, learning_rate(step));

    parallel_.before_forward();
    const Output output = forward(images, step);
    const ReconstructionConfig& weights = config_.loss;
    const at::Tensor pixel = pixel_error(output.images, images, weights.pixel), gradient = gradient_error(output.images, images),
                     chroma = chroma_error(output.images, images, weights.saturation_weight), kl = kl_divergence(output.latents.mean, output.latents.logvar);
    parallel_.backward((weights.pixel_weight * pixel + weights.chroma_weight * chroma + weights.gradient_weight * gradient + weights.kl_weight * kl) * share);
    optimizer_->step();
    if (ema_) ema_->update(*autoencoder_);
    return at::stack({pixel, chroma, gradient, kl}).detach() * share;
  }

  training::Checkpoint checkpoint(int64_t steps_done) const override {
    training::Checkpoint checkpoint{.step = steps_done};
    training::put_prefix(checkpoint.tensors, nn::state_of(*autoencoder_), "model.");
    training::put_prefix(checkpoint.tensors, training::optimizer_state(*optimizer_), "optimizer.");
    training::put_average(checkpoint, ema_);
    return checkpoint;
  }

  void restore(const training::Checkpoint& checkpoint, const std::string& where) override {
    nn::load_state(*autoencoder_, training::take_prefix(checkpoint.tensors, "model."), where);
    training::load_optimizer_state(*optimizer_, training::take_prefix(checkpoint.tensors, "optimizer."), where);
    training::take_average(checkpoint, ema_, where);
  }

  void save_samples(const fs::path& png) override {
    const torch::NoGradGuard no_grad;
    diffusion::Autoencoder autoencoder = kept(1);
    const data::AugmentConfig view = whole_view(config_);
    std::vector<at::Tensor> samples;
    for (const data::ShardList& list : lists_) samples.push_back(sample_images(list, view));
    const at::Tensor images = at::cat(samples);
    const at::Tensor decoded = autoencoder->decode(autoencoder->encode(nn::from_bytes(images, device_)).mode());
    write_sample_sheet(png, images, nn::to_bytes(decoded));
  }

  std::vector<fs::path> save(const fs::path& folder) override {
    diffusion::Autoencoder measured = kept(1);
    diffusion::Autoencoder autoencoder = kept(measure_scaling_factor(measured));
    diffusion::save_autoencoder(folder, autoencoder, at::kFloat);
    return {"diffusion_pytorch_model.safetensors", "config.json"};
  }

  std::string advice() const override {
    return fmt::format("Lower fit.diffusion.autoencoder.learning_rate (now {}){}", config_.optimizer.learning_rate,
                       config_.precision == "fp32" ? "" : ", or use fit.diffusion.autoencoder.precision = \"fp32\"");
  }

 private:
  struct Output {
    diffusion::LatentDistribution latents;
    at::Tensor images;
  };

  Output forward(const at::Tensor& images, int64_t step) {
    const training::Autocast autocast(device_, config_.precision == "bf16");
    Output output{.latents = autoencoder_->encode(images)};
    output.latents.mean = output.latents.mean.to(at::kFloat);
    output.latents.logvar = output.latents.logvar.to(at::kFloat);
    const bool noisy = config_.loss.kl_weight > 0;  // without the divergence nothing would keep the noise from vanishing
    output.images = autoencoder_->decode(noisy ? output.latents.sample(noise_like(output.latents.mean, step)) : output.latents.mode()).to(at::kFloat);
    return output;
  }

  /// Of this rank's latents in one step, whatever the number of ranks.
  at::Tensor noise_like(const at::Tensor& latents, int64_t step) const {
    at::Tensor noise = at::empty(latents.sizes(), at::kFloat);
    const auto values = static_cast<size_t>(noise[0].numel());
    float* into = noise.data_ptr<float>();
    const uint64_t mine = io::hash64("autoencoder");  // the denoiser of the same seed draws other numbers
    for (int64_t domain = 0; domain < std::ssize(lists_); ++domain) {
      for (int64_t position = part_.first; position < part_.last; ++position, into += values) {
        const auto image = static_cast<uint64_t>(domain * config_.batch + position);
        core::Random(seed_, core::Purpose::training_noise, mine ^ image, 0, static_cast<uint32_t>(step)).fill_normal({into, values});
      }
    }
    return noise.to(device_);
  }

  /// The trained network, or its moving average where there is one.
  diffusion::Autoencoder kept(double scaling_factor) const {
    diffusion::Autoencoder autoencoder(architecture_of(config_, scaling_factor));
    nn::load_state(*autoencoder, ema_ ? ema_->average() : nn::state_of(*autoencoder_), "the autoencoder in training");
    autoencoder->to(device_);
    autoencoder->eval();
    return autoencoder;
  }

  /// 1 / standard deviation of the latents of evenly spaced training images.
  double measure_scaling_factor(diffusion::Autoencoder& autoencoder) const {
    const torch::NoGradGuard no_grad;
    const data::AugmentConfig view = whole_view(config_);
    Moments moments;
    for (const data::ShardList& list : lists_) {
      const int64_t count = std::min(config_.scale_images, list.rows());
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = i * list.rows() / count;
        moments.add(autoencoder->encode(nn::from_bytes(data::load_evaluation(list, row, row + 1, view), device_)).mode());
      }
    }
    const double deviation = moments.deviation();
    if (!(deviation > 0) || !std::isfinite(deviation))
      throw core::DataError("the autoencoder's latents have a standard deviation of {}: it has learned nothing. {}", deviation, advice());
    return 1 / deviation;
  }

  comm::World& world_;
  AutoencoderFitConfig config_;
  uint64_t seed_;
  c10::Device device_;
  training::Part part_;
  std::vector<data::ShardList> lists_;  // training images of each domain
  UnpairedBatches batches_;
  diffusion::Autoencoder autoencoder_;
  training::DataParallel parallel_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::optional<training::Ema> ema_;
  std::optional<data::Prefetcher<UnpairedBatch>> ahead_;  // last: its threads use the batches
};

}  // namespace

void check_autoencoder(const training::Task& task, const AutoencoderFitConfig& config) {
  check_network(config, task.world.size());
  check_weights({config.loss.pixel_weight, config.loss.chroma_weight, config.loss.gradient_weight}, keys + ".loss");
  check_training(config.optimizer, config.ema, keys);
  check_images(task, images_of(config));
}

void fit_autoencoder(const training::Task& task, const AutoencoderFitConfig& config) {
  check_autoencoder(task, config);
  const std::string title = fmt::format("autoencoder of {}", fmt::join(task.domains, " and "));
  training::RunPlan plan = training::plan_of(task, title, config, keys, std::ssize(task.domains) * config.batch);
  plan.bound_by = training::bound_by_schedule(config.optimizer.schedule, keys);
  if (training::finished_run(task.world, plan)) return;
  AutoencoderFit fit(task, config);
  training::run(task.world, fit, plan);
}

}  // namespace syncdr::fit
