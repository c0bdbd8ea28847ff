#include <fmt/format.h>

#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/unet.h"

using namespace syncdr;

namespace {

struct ModelFolder {
  std::string folder;
  void visit(core::Fields& field) { field(folder, "folder", "a component's configuration and weights"); }
};

std::string folder_of(const std::string& toml) {
  ModelFolder config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  return config.folder;
}

}  // namespace

/// sample.K, timesteps.K, text.K for K = 0, 1, ... -> output.K; prepared.K, the same with the text's keys and values computed before.
SYNCDR_PROBE(unet) {
  const torch::NoGradGuard no_grad;
  diffusion::UNet unet = diffusion::load_unet(std::filesystem::path(folder_of(toml)));
  io::NamedTensors out;
  for (size_t k = 0; in.contains(fmt::format("sample.{}", k)); ++k) {
    const at::Tensor &sample = in.at(fmt::format("sample.{}", k)), &times = in.at(fmt::format("timesteps.{}", k)),
                     &text = in.at(fmt::format("text.{}", k));
    out.emplace(fmt::format("output.{}", k), unet->forward(sample, times, text));
    const diffusion::TextContext prepared = unet->prepare(text);
    out.emplace(fmt::format("prepared.{}", k),
                times.dim() == 0 ? unet->forward(sample, times.item<double>(), prepared) : unet->forward(sample, times, prepared));
  }
  return out;
}

/// images.K, noise.K -> mean.K, logvar.K, sample.K; scaling_factor
SYNCDR_PROBE(vae_encode) {
  const torch::NoGradGuard no_grad;
  diffusion::Autoencoder autoencoder = diffusion::load_autoencoder(std::filesystem::path(folder_of(toml)));
  io::NamedTensors out{{"scaling_factor", at::tensor({autoencoder->config().scaling_factor}, at::kDouble)}};
  for (size_t k = 0; in.contains(fmt::format("images.{}", k)); ++k) {
    const diffusion::LatentDistribution latents = autoencoder->encode(in.at(fmt::format("images.{}", k)));
    out.emplace(fmt::format("mean.{}", k), latents.mode());
    out.emplace(fmt::format("logvar.{}", k), latents.logvar);
    out.emplace(fmt::format("sample.{}", k), latents.sample(in.at(fmt::format("noise.{}", k))));
  }
  return out;
}

/// noise.K, taken for latents -> images.K
SYNCDR_PROBE(vae_decode) {
  const torch::NoGradGuard no_grad;
  diffusion::Autoencoder autoencoder = diffusion::load_autoencoder(std::filesystem::path(folder_of(toml)));
  io::NamedTensors out;
  for (size_t k = 0; in.contains(fmt::format("noise.{}", k)); ++k)
    out.emplace(fmt::format("images.{}", k), autoencoder->decode(in.at(fmt::format("noise.{}", k))));
  return out;
}
