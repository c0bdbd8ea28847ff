#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <string>

#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/unet.h"

/// Writes checkpoint folders in the layout that diffusers loads. Files are replaced atomically; model_index.json comes last.
namespace syncdr::diffusion {

/// What a component's config.json says of a configuration, its class included; reading it back gives the same configuration.
boost::json::object describe(const UNetConfig& config);
boost::json::object describe(const AutoencoderConfig& config);
boost::json::object describe(const TextEncoderConfig& config);

/// config.json and diffusion_pytorch_model.safetensors (text encoder: model.safetensors) of a component in `folder`, in dtype.
/// Throws UsageError on another dtype than float32, float16 and bfloat16.
void save_unet(const std::filesystem::path& folder, UNet& unet, c10::ScalarType dtype);
void save_autoencoder(const std::filesystem::path& folder, Autoencoder& autoencoder, c10::ScalarType dtype);
void save_text_encoder(const std::filesystem::path& folder, TextEncoder& text_encoder, c10::ScalarType dtype);

/// The same of tensors that have diffusers' names; their dtypes stay.
void save_weights(const std::filesystem::path& folder, const std::string& stem, const io::NamedTensors& tensors, boost::json::object config);

/// A tokenizer without a learned vocabulary, for models trained from scratch: CLIP's bytes, alone and at a word's end, start and end; texts of `length`
/// tokens. 514 ids.
void save_byte_tokenizer(const std::filesystem::path& folder, int64_t length);

/// vocab.json and merges.txt of the folder `from`, and what a tokenizer of CLIP needs beside them. Throws DataError if `from` lacks them or is no tokenizer.
void save_tokenizer(const std::filesystem::path& folder, const std::filesystem::path& from, const std::string& pad, int64_t length);

/// What may differ in scheduler_config.json of a DDIMScheduler. Betas are those of Stable Diffusion, spacing is trailing.
struct SchedulerDescription {
  int64_t train_steps = 1000;
  std::string prediction = "v_prediction";
  bool zero_terminal_snr = false;  ///< rescaled betas (Lin et al., WACV 2024): the last training step is pure noise
};
void save_scheduler(const std::filesystem::path& folder, const SchedulerDescription& description);

/// As published with Stable Diffusion: the last step ends with the first training step's noise, spacing is the class's default.
void save_published_scheduler(const std::filesystem::path& folder, const std::string& name, const std::string& prediction);

/// model_index.json of a folder whose components unet, vae, text_encoder, tokenizer and scheduler are written; the scheduler may be of any class.
/// pipeline: "StableDiffusionPipeline" or "StableDiffusionInstructPix2PixPipeline".
void save_model_index(const std::filesystem::path& root, const std::string& pipeline);

}  // namespace syncdr::diffusion
