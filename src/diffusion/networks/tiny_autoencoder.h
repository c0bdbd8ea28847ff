#pragma once
#include "syncdr/diffusion/autoencoder.h"

/// The two halves of diffusers' AutoencoderTiny (TAESD: O. Boer Bohan, "Tiny AutoEncoder for Stable Diffusion", 2023): 3x3 convolutions and ReLU alone.
/// Parameters are named as there: layers.N of one list, in which activations and changes of size count too.
namespace syncdr::diffusion {

/// Images in [-1, 1] -> latents. [B, in, H, W] -> [B, latent, h, w]
std::shared_ptr<MapNetwork> tiny_encoder(const AutoencoderConfig& config);
/// Latents -> images, whose values reach beyond [-1, 1] a little. [B, latent, h, w] -> [B, out, H, W]
std::shared_ptr<MapNetwork> tiny_decoder(const AutoencoderConfig& config);

/// Throws DataError naming file and field, as read_autoencoder_config.
AutoencoderConfig read_tiny_autoencoder_config(ConfigReader& reader);

}  // namespace syncdr::diffusion
