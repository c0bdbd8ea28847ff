#pragma once
#include <memory>

#include "lora.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/scheduler.h"
#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/tokenizer.h"
#include "syncdr/diffusion/unet.h"
#include "syncdr/fit/diffusion.h"

/// The networks of a diffusion translator, and what of them is trained.
namespace syncdr::fit {

struct DenoiserNetworks {
  diffusion::UNet unet{nullptr};
  diffusion::TextEncoder text_encoder{nullptr};
  diffusion::Autoencoder autoencoder{nullptr};
  std::shared_ptr<diffusion::Scheduler> scheduler;  ///< DDIM on the model's training schedule, for training and samples
  at::Tensor tokens;                                ///< [n + 1, L] int64: n texts, and no text
  bool new_condition = false;                       ///< the UNet has just got input channels for the condition, whose weights are 0

  /// [C, h, w] of the latents of images of this side.
  std::vector<int64_t> latent_shape(int64_t side) const;
};

/// Throws UsageError unless images of this side fit an autoencoder whose latents are smaller by the factor. keys: of the settings, for the message.
void check_side(int64_t side, int64_t factor, const std::string& keys);

/// Whether the UNet of the checkpoint `from` takes an image beside the noise. Throws UsageError if it takes something else.
bool takes_condition(const diffusion::UNetConfig& unet, const diffusion::AutoencoderConfig& autoencoder, const std::string& from, const std::string& keys);

/// [n + 1, L] int64: of the texts, and of no text. Says each that the model has no room for; setting: where they come from.
at::Tensor ids_of(const diffusion::Tokenizer& tokenizer, std::vector<std::string> texts, const std::string& setting);

/// The networks of a checkpoint, in float32 and for evaluation, and its training schedule; without tokens. Throws DataError on a broken one.
DenoiserNetworks read_networks(const diffusion::CheckpointFolder& checkpoint);

void set_trained(torch::nn::Module& module, bool trained);

/// What of config.from shows without reading its networks, as load_networks refuses it.
void check_checkpoint(const DiffusionFitConfig& config);

/// Throws UsageError if the tokenizer of a model from scratch does not tell the prompts apart.
void check_prompts(const DiffusionFitConfig& config);

/// Writes tokenizer and scheduler of a model from scratch into the checkpoint folder that it will have, or copies them from the checkpoint that is gone
/// on from. By rank 0.
void write_companions(const DiffusionFitConfig& config, const std::filesystem::path& checkpoint);

/// New networks behind a trained first stage (a component's folder), with initial values that depend on the seed alone. checkpoint: the folder that
/// write_companions() has written to.
DenoiserNetworks make_networks(const DiffusionFitConfig& config, const std::filesystem::path& autoencoder, const std::filesystem::path& checkpoint,
                               uint64_t seed);

/// The networks of config.from, with the input channels that the layout needs. Throws DataError on a broken checkpoint, UsageError on one that does not
/// fit the layout or whose tokenizer does not tell the prompts apart.
DenoiserNetworks load_networks(const DiffusionFitConfig& config);

/// What of the networks is trained, as one module; the rest is frozen.
struct TrainedPartsImpl : torch::nn::Module {
  /// A whole UNet (and the text encoder of a model from scratch), or low-rank additions to it (and its input convolution where that has new channels).
  TrainedPartsImpl(DenoiserNetworks& networks, const DiffusionFitConfig& config, uint64_t seed);
  std::shared_ptr<Lora> lora;  // may be null
  bool with_text = false;
};
TORCH_MODULE(TrainedParts);

}  // namespace syncdr::fit
