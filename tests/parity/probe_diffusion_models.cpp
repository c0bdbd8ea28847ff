#include <fmt/format.h>

#include "networks/layers.h"
#include "probe.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/unet.h"

using namespace syncdr;

SYNCDR_PROBE(unet,
             "--model: a checkpoint, or its unet. sample.K [B, C, h, w], timesteps.K [B] or [], text.K [B, L, D]\n"
             "-> output.K [B, C, h, w]; prepared.K, the same with the text's keys and values computed before and weights packed, as pipelines do") {
  const torch::NoGradGuard no_grad;
  diffusion::UNet unet = diffusion::load_unet(parity::component_of(model, "unet")), packed = diffusion::load_unet(parity::component_of(model, "unet"));
  diffusion::pack_weights(*packed);
  io::NamedTensors out;
  for (size_t k = 0; in.contains(fmt::format("sample.{}", k)); ++k) {
    const at::Tensor &sample = in.at(fmt::format("sample.{}", k)), &times = in.at(fmt::format("timesteps.{}", k)), &text = in.at(fmt::format("text.{}", k));
    out.emplace(fmt::format("output.{}", k), unet->forward(sample, times, text));
    const diffusion::TextContext prepared = packed->prepare(text);
    out.emplace(fmt::format("prepared.{}", k),
                times.dim() == 0 ? packed->forward(sample, times.item<double>(), prepared) : packed->forward(sample, times, prepared));
  }
  return out;
}

SYNCDR_PROBE(vae_encode,
             "--model: a checkpoint, or its vae. images.K [B, 3, H, W], noise.K [B, C, h, w]\n"
             "-> mean.K, logvar.K, sample.K [B, C, h, w], not scaled; scaling_factor [1] float64") {
  const torch::NoGradGuard no_grad;
  diffusion::Autoencoder autoencoder = diffusion::load_autoencoder(parity::component_of(model, "vae"));
  diffusion::pack_weights(*autoencoder);
  io::NamedTensors out{{"scaling_factor", at::tensor({autoencoder->config().scaling_factor}, at::kDouble)}};
  for (size_t k = 0; in.contains(fmt::format("images.{}", k)); ++k) {
    const diffusion::LatentDistribution latents = autoencoder->encode(in.at(fmt::format("images.{}", k)));
    out.emplace(fmt::format("mean.{}", k), latents.mode());
    if (latents.logvar.defined()) out.emplace(fmt::format("logvar.{}", k), latents.logvar);
    out.emplace(fmt::format("sample.{}", k), latents.sample(in.at(fmt::format("noise.{}", k))));
  }
  return out;
}

SYNCDR_PROBE(vae_decode, "--model: a checkpoint, or its vae. noise.K [B, C, h, w], taken for latents, not scaled -> images.K [B, 3, H, W]") {
  const torch::NoGradGuard no_grad;
  diffusion::Autoencoder autoencoder = diffusion::load_autoencoder(parity::component_of(model, "vae"));
  diffusion::pack_weights(*autoencoder);
  io::NamedTensors out;
  for (size_t k = 0; in.contains(fmt::format("noise.{}", k)); ++k)
    out.emplace(fmt::format("images.{}", k), autoencoder->decode(in.at(fmt::format("noise.{}", k))));
  return out;
}
