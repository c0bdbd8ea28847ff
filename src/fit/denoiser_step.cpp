#include "denoiser_step.h"

#include <ATen/Context.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "losses.h"
#include "syncdr/core/philox.h"
#include "syncdr/nn/pixels.h"

namespace syncdr::fit {
namespace {

DenoiserNetworks moved(DenoiserNetworks networks, c10::Device device) {
  networks.unet->to(device);
  networks.text_encoder->to(device);
  networks.autoencoder->to(device);
  if (networks.tokens.defined()) networks.tokens = networks.tokens.to(device);
  return networks;
}

/// While it lives, attention is made of matrix products. PyTorch's fused kernel for CPUs is ten times slower backwards in bfloat16 than in float32.
class PlainAttention {
 public:
  explicit PlainAttention(bool on) : before_(at::globalContext().userEnabledFlashSDP()) {
    if (on) at::globalContext().setSDPUseFlash(false);
  }
  ~PlainAttention() { at::globalContext().setSDPUseFlash(before_); }
  PlainAttention(const PlainAttention&) = delete;
  PlainAttention& operator=(const PlainAttention&) = delete;

 private:
  bool before_;
};

/// [n, C, h, w]: an image's noise depends on the seed and its place.
at::Tensor sample_noise(int64_t images, const std::vector<int64_t>& latent, uint64_t seed) {
  at::Tensor noise = at::empty({images, latent[0], latent[1], latent[2]}, at::kFloat);
  for (int64_t i = 0; i < images; ++i) {
    core::Random random(seed, core::Purpose::noise, static_cast<uint64_t>(i));
    random.fill_normal({noise[i].data_ptr<float>(), static_cast<size_t>(noise[i].numel())});
  }
  return noise;
}

}  // namespace

DenoiserStep::DenoiserStep(const training::Task& task, const std::vector<std::string>& domains, DenoiserNetworks networks, const DenoiserOptions& options)
    : options_(options), seed_(task.seed), threads_(task.world.threads(0)), device_(task.world.device()), networks_(moved(std::move(networks), device_)),
      shape_{.latent = networks_.latent_shape(options.images.augment.crop), .train_steps = networks_.scheduler->train_steps()},
      encoder_(networks_.autoencoder, device_, options),
      time_weights_(min_snr_weights(networks_.scheduler->alphas_cumprod(), networks_.scheduler->prediction(), options.min_snr_gamma).to(device_)),
      batches_(task.dataset, domains, options, seed_, training::part_of(options.batch(), task.world.rank(), task.world.size()), shape_,
               [this](const ImageView& view) { return encoder_.has(view); }) {}

void DenoiserStep::begin(int64_t first, int64_t last) {
  ahead_.emplace([this](int64_t step) { return batches_.load(step); }, first, last, threads_);
}

/// [b, C, h, w], or [b, 2 C, h, w] with the condition behind.
at::Tensor DenoiserStep::noised_input(const DenoiserBatch& batch, const EncodedViews& views, const at::Tensor& noise, const at::Tensor& times) {
  const at::Tensor noisy = networks_.scheduler->add_noise(views.latents, noise, times);
  if (!views.condition.defined()) return noisy;
  const at::Tensor keeps = batch.keeps_condition.to(device_).view({-1, 1, 1, 1});
  const double deviation = 1 / networks_.autoencoder->config().scaling_factor;  // of latents that are not scaled
  return at::cat({noisy, (views.condition + batch.condition_noise.to(device_) * deviation) * keeps}, 1);
}

at::Tensor DenoiserStep::loss_share(const DenoiserBatch& batch, const TextsOf& texts) {
  const EncodedViews views = encoder_.encode(batch);
  const at::Tensor noise = batch.noise.to(device_), times = batch.times.to(device_), input = noised_input(batch, views, noise, times);
  const auto predict = [&] {
    const training::Autocast autocast = arithmetic();
    const PlainAttention plain(options_.bfloat16 && device_.is_cpu());
    return networks_.unet->forward(input, times, texts(batch));
  };
  const at::Tensor output = predict(), target = training_target(*networks_.scheduler, views.latents, noise, times);
  return weighted_error(output, target, time_weights_.index_select(0, times)) / static_cast<double>(options_.batch());
}

at::Tensor DenoiserStep::condition_of(const at::Tensor& images) {
  return encoder_.condition_of(images, at::full({images.size(0)}, std::sqrt(options_.sigmas[0] * options_.sigmas[1]), at::kFloat));
}

at::Tensor DenoiserStep::sample(const at::Tensor& images, const diffusion::TextContext& text, const diffusion::TextContext& none) {
  const torch::NoGradGuard no_grad;
  const training::Autocast autocast = arithmetic();
  diffusion::Scheduler& scheduler = *networks_.scheduler;
  const double scale = networks_.autoencoder->config().scaling_factor;
  at::Tensor latents = sample_noise(images.size(0), shape_.latent, seed_).to(device_);
  scheduler.set_steps(options_.condition ? 10 : 20);
  std::vector<diffusion::Branch> branches;
  int64_t start = 0;
  if (options_.condition) {
    branches = diffusion::instruct_guidance(text, none, condition_of(images), /*scale=*/2, /*image_scale=*/1);
  } else {
    branches = diffusion::text_guidance(text, none, /*scale=*/4);
    start = scheduler.start_index(/*strength=*/0.6);
    latents = scheduler.noise_to_step(networks_.autoencoder->encode(nn::from_bytes(images, device_)).mode().to(at::kFloat) * scale, latents, start);
  }
  const at::Tensor denoised = diffusion::denoise(networks_.unet, branches, scheduler, latents, {.first = start});
  return nn::to_bytes(networks_.autoencoder->decode(denoised / scale));
}

at::Tensor DenoiserStep::paint(std::vector<diffusion::Branch> branches, const at::Tensor& images, int64_t steps) {
  const torch::NoGradGuard no_grad;
  const training::Autocast autocast = arithmetic();
  const at::Tensor latents = sample_noise(images.size(0), shape_.latent, seed_).to(device_);
  networks_.scheduler->set_steps(steps);
  if (options_.condition) {
    const at::Tensor condition = options_.drop_condition < 1 ? condition_of(images) : at::zeros_like(latents);
    for (diffusion::Branch& branch : branches) branch.image = condition;
  }
  const at::Tensor denoised = diffusion::denoise(networks_.unet, branches, *networks_.scheduler, latents * networks_.scheduler->init_noise_sigma());
  return nn::to_bytes(networks_.autoencoder->decode(denoised / networks_.autoencoder->config().scaling_factor));
}

diffusion::TextContext texts_of_images(diffusion::TextContext texts, const at::Tensor& rows) {
  texts.text = texts.text.narrow(0, 0, 1);  // not read where keys are prepared
  for (diffusion::KeyValue& keys : texts.prepared) keys = {keys.key.index_select(0, rows), keys.value.index_select(0, rows)};
  return texts;
}

}  // namespace syncdr::fit
