#include "denoiser_networks.h"

#include "syncdr/core/log.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/weights.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;

template <class Network> Network channels_last(Network network) {
  nn::make_channels_last(*network);
  return network;
}

at::Tensor tokens_of(const diffusion::Tokenizer& tokenizer, const std::vector<std::string>& prompts) {
  const at::Tensor tokens = ids_of(tokenizer, prompts, "fit.diffusion.prompts");
  for (size_t i = 0; i < prompts.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (tokens[static_cast<int64_t>(i)].equal(tokens[static_cast<int64_t>(j)]))
        throw core::UsageError("fit.diffusion.prompts: \"{}\" and \"{}\" are the same {} tokens. Choose prompts that differ earlier", prompts[j], prompts[i],
                               tokens.size(1));
  return tokens;
}

diffusion::UNetConfig unet_config_of(const DiffusionFitConfig& config, int64_t latent_channels, int64_t latent_side) {
  const DenoiserUNetConfig& ours = config.unet;
  const auto levels = static_cast<int64_t>(ours.channels.size());
  diffusion::UNetConfig unet{.in_channels = config.layout == "instruct" ? 2 * latent_channels : latent_channels,
                             .out_channels = latent_channels,
                             .sample_height = latent_side,
                             .sample_width = latent_side,
                             .down_blocks = {},
                             .up_blocks = {},
                             .channels = ours.channels,
                             .layers = std::vector<int64_t>(ours.channels.size(), ours.layers),
                             .heads = {},
                             .transformer_layers = std::vector<int64_t>(ours.channels.size(), 1),
                             .only_cross_attention = std::vector<bool>(ours.channels.size(), false),
                             .text_width = config.text.width,
                             .linear_projection = true,
                             .norm_groups = ours.norm_groups};
  for (int64_t level = 0; level < levels; ++level) {
    unet.down_blocks.push_back(level < ours.plain_levels ? "DownBlock2D" : "CrossAttnDownBlock2D");
    unet.up_blocks.push_back(levels - 1 - level < ours.plain_levels ? "UpBlock2D" : "CrossAttnUpBlock2D");
    unet.heads.push_back(ours.channels[static_cast<size_t>(level)] / ours.head_width);
  }
  return unet;
}

diffusion::TextEncoderConfig text_config_of(const DenoiserTextConfig& config, int64_t vocabulary) {
  return {
      .vocabulary = vocabulary, .positions = config.length, .width = config.width, .hidden = 4 * config.width, .layers = config.layers, .heads = config.heads};
}

/// Residual branches and the output begin at 0, so that the network begins as nearly the identity (Dhariwal and Nichol, NeurIPS 2021).
void silence_branches(torch::nn::Module& unet) {
  const torch::NoGradGuard no_grad;
  for (auto& item : unet.named_parameters()) {
    const std::string& name = item.key();
    if (name.find(".conv2.") != std::string::npos || name.find(".proj_out.") != std::string::npos || name.starts_with("conv_out.")) item.value().zero_();
  }
}

/// The UNet with further input channels, which change nothing until they are trained (Brooks et al., CVPR 2023).
diffusion::UNet with_condition_channels(diffusion::UNet& unet, int64_t channels) {
  diffusion::UNetConfig config = unet->config();
  io::NamedTensors weights = nn::state_of(*unet);
  const at::Tensor before = weights.at("conv_in.weight").detach();
  weights["conv_in.weight"] = at::cat({before, at::zeros({before.size(0), channels, before.size(2), before.size(3)})}, 1);
  config.in_channels += channels;
  diffusion::UNet wider(config);
  nn::load_state(*wider, weights, "the UNet with the condition's channels");
  nn::make_channels_last(*wider);
  wider->eval();
  return wider;
}

/// Whether a UNet with `in` input channels lacks those of the condition. Throws UsageError if it fits the layout neither with nor without them.
bool lacks_condition(int64_t in, int64_t latent, const DiffusionFitConfig& config) {
  const int64_t wanted = config.layout == "instruct" ? 2 * latent : latent;
  if (in == wanted) return false;
  if (in != latent || wanted < in)
    throw core::UsageError("{}: its UNet has {} input channels, layout \"{}\" needs {} of latents of {}. Choose another fit.diffusion.layout or checkpoint",
                           config.from, in, config.layout, wanted, latent);
  return true;
}

void fit_to_layout(DenoiserNetworks& networks, const DiffusionFitConfig& config) {
  const int64_t latent = networks.autoencoder->config().latent_channels;
  if (!lacks_condition(networks.unet->config().in_channels, latent, config)) return;
  core::info("{}: the UNet gets {} input channels for the condition", config.from, latent);
  networks.unet = with_condition_channels(networks.unet, latent);
  networks.new_condition = true;
}

}  // namespace

void check_side(int64_t side, int64_t factor, const std::string& keys) {
  // The UNet's levels may have odd sides; the autoencoder's latents would stand for a larger image.
  if (side % factor != 0) throw core::UsageError("{}.augment.crop = {}: the autoencoder needs a multiple of {}", keys, side, factor);
}

bool takes_condition(const diffusion::UNetConfig& unet, const diffusion::AutoencoderConfig& autoencoder, const std::string& from, const std::string& keys) {
  const int64_t in = unet.in_channels, latent = autoencoder.latent_channels;
  if (in != latent && in != 2 * latent)
    throw core::UsageError(
        "{}: its UNet has {} input channels, latents have {}: it takes something else than an image beside the noise. Choose another {}.from", from, in, latent,
        keys);
  return in != latent;
}

void set_trained(torch::nn::Module& module, bool trained) {
  for (at::Tensor& parameter : module.parameters()) parameter.set_requires_grad(trained);
}

at::Tensor ids_of(const diffusion::Tokenizer& tokenizer, std::vector<std::string> texts, const std::string& setting) {
  for (const std::string& text : texts) {
    const std::string cut = tokenizer.cut_from(text);
    if (!cut.empty() && core::log_rank() == 0) core::warn("{}: there is no room for all of \"{}\": the model does not see its end, \"{}\"", setting, text, cut);
  }
  texts.emplace_back();
  return tokenizer.encode(texts);
}

void check_checkpoint(const DiffusionFitConfig& config) {
  const diffusion::CheckpointFolder checkpoint(config.from, config.variant);
  const auto autoencoder = diffusion::read_autoencoder_config(checkpoint);
  check_side(config.augment.crop, autoencoder.factor(), "fit.diffusion");
  lacks_condition(diffusion::read_unet_config(checkpoint).in_channels, autoencoder.latent_channels, config);
  tokens_of(diffusion::load_tokenizer(checkpoint), config.prompts);
}

std::vector<int64_t> DenoiserNetworks::latent_shape(int64_t side) const {
  return {autoencoder->config().latent_channels, side / autoencoder->factor(), side / autoencoder->factor()};
}

void check_prompts(const DiffusionFitConfig& config) { tokens_of(diffusion::Tokenizer::of_bytes(config.text.length), config.prompts); }

void write_companions(const DiffusionFitConfig& config, const fs::path& checkpoint) {
  if (config.from.empty()) {
    diffusion::save_byte_tokenizer(checkpoint / "tokenizer", config.text.length);
    diffusion::save_scheduler(checkpoint / "scheduler", {.prediction = config.prediction, .zero_terminal_snr = config.zero_terminal_snr});
    return;
  }
  fs::create_directories(checkpoint);
  for (const char* component : {"tokenizer", "scheduler"})
    fs::copy(fs::path(config.from) / component, checkpoint / component, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
}

DenoiserNetworks make_networks(const DiffusionFitConfig& config, const fs::path& autoencoder, const fs::path& checkpoint, uint64_t seed) {
  DenoiserNetworks networks;
  networks.autoencoder = channels_last(diffusion::load_autoencoder(autoencoder));
  check_side(config.augment.crop, networks.autoencoder->factor(), "fit.diffusion");
  const std::vector<int64_t> latent = networks.latent_shape(config.augment.crop);
  networks.tokens = tokens_of(diffusion::Tokenizer(checkpoint / "tokenizer"), config.prompts);
  networks.scheduler = diffusion::load_scheduler(checkpoint / "scheduler");
  networks.unet = diffusion::UNet(unet_config_of(config, latent[0], latent[1]));
  nn::initialise(*networks.unet, "denoiser.unet", seed);
  silence_branches(*networks.unet);
  nn::make_channels_last(*networks.unet);
  networks.text_encoder = diffusion::TextEncoder(text_config_of(config.text, diffusion::Tokenizer(checkpoint / "tokenizer").size()));
  nn::initialise(*networks.text_encoder, "denoiser.text_encoder", seed);
  return networks;
}

DenoiserNetworks read_networks(const diffusion::CheckpointFolder& checkpoint) {
  DenoiserNetworks networks;
  networks.unet = channels_last(diffusion::load_unet(checkpoint));
  networks.text_encoder = diffusion::load_text_encoder(checkpoint);
  networks.autoencoder = channels_last(diffusion::load_autoencoder(checkpoint));
  networks.scheduler = diffusion::load_scheduler(checkpoint.root() / "scheduler", "DDIMScheduler");  // others have another way to add noise
  return networks;
}

DenoiserNetworks load_networks(const DiffusionFitConfig& config) {
  const diffusion::CheckpointFolder checkpoint(config.from, config.variant);
  DenoiserNetworks networks = read_networks(checkpoint);
  networks.tokens = tokens_of(diffusion::load_tokenizer(checkpoint), config.prompts);
  fit_to_layout(networks, config);
  return networks;
}

TrainedPartsImpl::TrainedPartsImpl(DenoiserNetworks& networks, const DiffusionFitConfig& config, uint64_t seed) : with_text(config.from.empty()) {
  set_trained(*networks.autoencoder, false);
  set_trained(*networks.text_encoder, with_text);
  if (with_text) register_module("text_encoder", networks.text_encoder);
  if (config.lora_rank == 0) {
    register_module("unet", networks.unet);
    return;
  }
  set_trained(*networks.unet, false);
  lora = register_module("lora", std::make_shared<Lora>(*networks.unet, config.lora_rank, seed));
  if (!networks.new_condition) return;
  const auto conv_in = networks.unet->named_children()["conv_in"];
  register_module("conv_in", conv_in);
  set_trained(*conv_in, true);
}

}  // namespace syncdr::fit
