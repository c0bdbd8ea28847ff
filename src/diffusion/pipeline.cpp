#include "syncdr/diffusion/pipeline.h"

#include <torch/utils.h>

#include "last_made.h"
#include "networks/layers.h"
#include "step_graph.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/learned_tokens.h"
#include "syncdr/diffusion/unet.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {
namespace {

/// A network for inference, its hash added to `hashes`: packed, it has lost its parameters.
template <class Network> Network placed(Network network, const InferenceOptions& options, const char* name, std::string& hashes) {
  network->to(options.device);
  network->eval();
  hashes += fmt::format("{} {}\n", name, nn::state_hash(*network));
  for (at::Tensor& parameter : network->parameters()) parameter.set_requires_grad(false);
  pack_weights(*network, options.winograd);
  nn::make_channels_last(*network);  // what is not packed
  return network;
}

/// The checkpoint's text encoder; it and the tokenizer get the learned tokens.
TextEncoder text_encoder_of(const CheckpointFolder& checkpoint, const InferenceOptions& options, LowRankSums lora,
                            const std::vector<std::filesystem::path>& tokens, Tokenizer& tokenizer) {
  TextEncoder encoder = load_text_encoder(checkpoint, options.dtype, std::move(lora));
  if (tokenizer.size() > encoder->config().vocabulary)
    throw core::DataError("{}: the tokenizer has {} tokens, the text encoder rows for {}", checkpoint.root().string(), tokenizer.size(),
                          encoder->config().vocabulary);
  add_learned_tokens(tokenizer, encoder, tokens);
  return encoder;
}

/// What tells files apart that are read: where they are, and what they hold.
std::string key_of(const Additions& additions) {
  std::string key = additions.autoencoder.string();
  for (const LoraFile& lora : additions.lora) key += '\n' + provenance_of(lora);
  for (const auto& file : additions.tokens) key += fmt::format("\n{} {}", file.string(), io::hash_file(file));
  return key;
}

void check_text_side(const std::string& where, const Tokenizer& tokenizer, const TextEncoderConfig& text, const UNetConfig& unet) {
  if (tokenizer.length() > text.positions)
    throw core::DataError("{}: the tokenizer's texts have {} tokens, the text encoder takes {}", where, tokenizer.length(), text.positions);
  if (text.width != unet.text_width)
    throw core::DataError("{}: the text encoder gives {} values a token, the UNet reads {}", where, text.width, unet.text_width);
}

void check_image_side(const std::string& where, const AutoencoderConfig& autoencoder, const UNetConfig& unet) {
  if (autoencoder.in_channels != 3 || autoencoder.out_channels != 3)
    throw core::DataError("{}: the autoencoder is of images with {} and {} channels; 3 are supported", where, autoencoder.in_channels,
                          autoencoder.out_channels);
  if (unet.out_channels != autoencoder.latent_channels || unet.in_channels < autoencoder.latent_channels)
    throw core::DataError("{}: the autoencoder's latents have {} channels, the UNet takes {} and gives {}", where, autoencoder.latent_channels,
                          unet.in_channels, unet.out_channels);
}

LatentDistribution latents_of(Autoencoder& autoencoder, const at::Tensor& images, c10::ScalarType dtype) {
  const int64_t factor = autoencoder->factor();
  if (images.dim() != 4 || images.size(2) % factor != 0 || images.size(3) % factor != 0)
    throw core::UsageError("images [B, 3, H, W] with sides that are multiples of {} are needed, got [{}]", factor, fmt::join(images.sizes(), ", "));
  const LatentDistribution latents = autoencoder->encode(images.to(dtype));
  return {.mean = latents.mean.to(at::kFloat), .logvar = latents.logvar.defined() ? latents.logvar.to(at::kFloat) : latents.logvar};
}

void check_noise(const at::Tensor& noise, at::IntArrayRef shape, const char* what) {
  if (!noise.defined() || noise.sizes() != shape)
    throw core::UsageError("the {} noise must be [{}], got [{}]", what, fmt::join(shape, ", "),
                           fmt::join(noise.defined() ? noise.sizes() : at::IntArrayRef(), ", "));
}

}  // namespace

struct StableDiffusion::Networks {
  Networks(const CheckpointFolder& checkpoint, const InferenceOptions& options, const Additions& additions, LoraSums lora)
      : tokenizer(load_tokenizer(checkpoint)),
        text_encoder(placed(text_encoder_of(checkpoint, options, std::move(lora.text_encoder), additions.tokens, tokenizer), options, "text_encoder", hashes)),
        autoencoder(placed(additions.autoencoder.empty() ? load_autoencoder(checkpoint, options.dtype) : load_autoencoder(additions.autoencoder, options.dtype),
                           options, "vae", hashes)),
        unet(placed(load_unet(checkpoint, options.dtype, std::move(lora.unet)), options, "unet", hashes)) {
    const std::string where = checkpoint.root().string();
    check_text_side(where, tokenizer, text_encoder->config(), unet->config());
    check_image_side(where, autoencoder->config(), unet->config());
  }

  std::string hashes;
  Tokenizer tokenizer;
  TextEncoder text_encoder;
  Autoencoder autoencoder;
  UNet unet;
  std::unique_ptr<StepGraph> graph;  ///< null: calls are not recorded
};

std::shared_ptr<StableDiffusion::Networks> StableDiffusion::networks_of(const CheckpointFolder& checkpoint, const InferenceOptions& options,
                                                                        const Additions& additions) {
  static LastMade<Networks> last;
  const std::string key = fmt::format("{}\n{}\n{} {} {}{}", checkpoint.root().string(), checkpoint.variant(), c10::toString(options.dtype),
                                      options.device.str(), options.winograd, key_of(additions));
  return last.get(key, [&] { return std::make_shared<Networks>(checkpoint, options, additions, read_lora(additions.lora, checkpoint)); });
}

StableDiffusion::StableDiffusion(const CheckpointFolder& checkpoint, const InferenceOptions& options, const Additions& additions)
    : root_(checkpoint.root()), networks_(networks_of(checkpoint, options, additions)), dtype_(options.dtype), device_(options.device) {}

TextContext StableDiffusion::encode_text(const std::vector<std::string>& texts) {
  const torch::NoGradGuard no_grad;
  if (texts.empty()) throw core::UsageError("no text to encode");
  return networks_->unet->prepare(networks_->text_encoder->forward(networks_->tokenizer.encode(texts).to(device_)));
}

std::string StableDiffusion::cut_from(const std::string& text) const { return networks_->tokenizer.cut_from(text); }

at::Tensor StableDiffusion::encode_image(const at::Tensor& images, const at::Tensor& noise) {
  const torch::NoGradGuard no_grad;
  const LatentDistribution latents = latents_of(networks_->autoencoder, images, dtype_);
  const double scale = networks_->autoencoder->config().scaling_factor;
  if (!noise.defined()) return scale * latents.mode();
  check_noise(noise, latents.mean.sizes(), "encoding");
  return scale * latents.sample(noise);
}

at::Tensor StableDiffusion::decode_image(const at::Tensor& latents) {
  const torch::NoGradGuard no_grad;
  return networks_->autoencoder->decode((latents / networks_->autoencoder->config().scaling_factor).to(dtype_)).to(at::kFloat);
}

at::Tensor StableDiffusion::image_condition(const at::Tensor& images) {
  const torch::NoGradGuard no_grad;
  return latents_of(networks_->autoencoder, images, dtype_).mode();
}

std::unique_ptr<Scheduler> StableDiffusion::make_scheduler(const std::string& name, const SamplerOptions& options) const {
  return load_scheduler(CheckpointFolder(root_), name, options);
}

at::Tensor StableDiffusion::denoise(std::span<const Branch> guidance, Scheduler& scheduler, const at::Tensor& sample, Trajectory trajectory) {
  trajectory.graph = networks_->graph.get();
  return diffusion::denoise(networks_->unet, guidance, scheduler, sample, trajectory);
}

void StableDiffusion::record_steps(bool on) { networks_->graph = on ? std::make_unique<StepGraph>() : nullptr; }

UNet& StableDiffusion::unet() { return networks_->unet; }

TextEncoder& StableDiffusion::text_encoder() { return networks_->text_encoder; }

const Tokenizer& StableDiffusion::tokenizer() const { return networks_->tokenizer; }

int64_t StableDiffusion::factor() const { return networks_->autoencoder->factor(); }

int64_t StableDiffusion::condition_channels() const { return networks_->unet->config().in_channels - networks_->autoencoder->config().latent_channels; }

bool StableDiffusion::takes_guidance() const { return networks_->unet->config().guidance_width > 0; }

std::vector<int64_t> StableDiffusion::latent_shape(int64_t height, int64_t width) const {
  if (height < factor() || width < factor() || height % factor() != 0 || width % factor() != 0)
    throw core::UsageError("images of {} x {} pixels: both sides must be multiples of {}", height, width, factor());
  return {networks_->autoencoder->config().latent_channels, height / factor(), width / factor()};
}

std::string StableDiffusion::hash() const { return io::hash128(networks_->hashes); }

at::Tensor img2img(StableDiffusion& model, Scheduler& scheduler, const at::Tensor& images, std::span<const Branch> guidance, double strength,
                   const PipelineNoise& noise) {
  const torch::NoGradGuard no_grad;
  const int64_t start = scheduler.start_index(strength);
  const at::Tensor latents = model.encode_image(images, noise.encoding);
  check_noise(noise.start, latents.sizes(), "start");
  const at::Tensor noised = scheduler.noise_to_step(latents, noise.start, start);
  return model.decode_image(model.denoise(guidance, scheduler, noised, {.first = start, .noise = noise.step}));
}

at::Tensor generate(StableDiffusion& model, Scheduler& scheduler, std::span<const Branch> guidance, const PipelineNoise& noise) {
  const torch::NoGradGuard no_grad;
  const at::Tensor start = noise.start * scheduler.init_noise_sigma();
  return model.decode_image(model.denoise(guidance, scheduler, start, {.noise = noise.step}));
}

at::Tensor invert(StableDiffusion& model, Scheduler& inverse, const at::Tensor& images, std::span<const Branch> guidance, double depth) {
  const auto calls = int64_t(inverse.timesteps().size());
  const int64_t last = calls - inverse.start_index(depth);
  return model.denoise(guidance, inverse, model.encode_image(images), {.last = last});
}

at::Tensor ddib(StableDiffusion& model, Scheduler& inverse, Scheduler& scheduler, const at::Tensor& images, std::span<const Branch> source,
                std::span<const Branch> target, double depth) {
  if (scheduler.wants_noise() || inverse.timesteps().size() != scheduler.timesteps().size())
    throw core::UsageError("{} with {} calls cannot follow an inversion of {} calls: a scheduler without noise, of as many steps, is needed", scheduler.name(),
                           scheduler.timesteps().size(), inverse.timesteps().size());
  const at::Tensor noised = invert(model, inverse, images, source, depth);
  return model.decode_image(model.denoise(target, scheduler, noised, {.first = scheduler.start_index(depth)}));
}

}  // namespace syncdr::diffusion
