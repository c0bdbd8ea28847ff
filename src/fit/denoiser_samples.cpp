#include "denoiser_samples.h"

#include "syncdr/core/philox.h"
#include "syncdr/diffusion/sampling.h"
#include "syncdr/nn/pixels.h"

namespace syncdr::fit {
namespace {

constexpr int64_t instruct_steps = 10, text_steps = 20;
constexpr double instruct_guidance_scale = 2, image_guidance_scale = 1, text_guidance_scale = 4, text_strength = 0.6;

at::Tensor sample_noise(int64_t images, const std::vector<int64_t>& latent, uint64_t seed) {
  at::Tensor noise = at::empty({images, latent[0], latent[1], latent[2]}, at::kFloat);
  for (int64_t i = 0; i < images; ++i) {
    core::Random random(seed, core::Purpose::noise, static_cast<uint64_t>(i));
    random.fill_normal({noise[i].data_ptr<float>(), static_cast<size_t>(noise[i].numel())});
  }
  return noise;
}

}  // namespace

at::Tensor translate_samples(DenoiserNetworks& networks, ViewEncoder& encoder, const at::Tensor& texts, const at::Tensor& images, int64_t domain,
                             const DiffusionFitConfig& config, uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const bool instruct = config.layout == "instruct";
  const c10::Device device = texts.device();
  diffusion::Scheduler& scheduler = *networks.scheduler;
  const double scale = networks.autoencoder->config().scaling_factor;
  const diffusion::TextContext text = networks.unet->prepare(texts.narrow(0, domain, 1)), none = networks.unet->prepare(texts.narrow(0, no_prompt, 1));
  at::Tensor sample = sample_noise(images.size(0), networks.latent_shape(images.size(2)), seed).to(device);
  scheduler.set_steps(instruct ? instruct_steps : text_steps);
  std::vector<diffusion::Branch> branches;
  int64_t start = 0;
  if (instruct) {
    const double sigma = std::sqrt(config.sigmas[0] * config.sigmas[1]);
    const at::Tensor condition = encoder.condition_of(images, at::full({images.size(0)}, sigma, at::kFloat));
    branches = diffusion::instruct_guidance(text, none, condition, instruct_guidance_scale, image_guidance_scale);
  } else {
    branches = diffusion::text_guidance(text, none, text_guidance_scale);
    start = scheduler.start_index(text_strength);
    sample = scheduler.noise_to_step(networks.autoencoder->encode(nn::from_bytes(images, device)).mode().to(at::kFloat) * scale, sample, start);
  }
  const at::Tensor latents = diffusion::denoise(networks.unet, branches, scheduler, sample, {.first = start});
  return nn::to_bytes(networks.autoencoder->decode(latents / scale));
}

}  // namespace syncdr::fit
