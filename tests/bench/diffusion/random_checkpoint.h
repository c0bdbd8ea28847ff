#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <string>

#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/initialise.h"

namespace syncdr::bench {

struct CheckpointSizes {
  diffusion::UNetConfig unet;
  diffusion::AutoencoderConfig autoencoder;
  diffusion::TextEncoderConfig text;
};

/// Stable Diffusion 1.5.
inline CheckpointSizes stable_diffusion_15() {
  CheckpointSizes sizes;
  sizes.unet.text_width = 768;
  sizes.unet.sample_height = sizes.unet.sample_width = 64;
  sizes.autoencoder.channels = {128, 256, 512, 512};
  sizes.autoencoder.layers = 2;
  sizes.text.width = 768;
  sizes.text.hidden = 3072;
  sizes.text.heads = 12;
  return sizes;
}

/// Every kind of block once, seconds on a CPU. in_channels: 8 for InstructPix2Pix.
inline CheckpointSizes small_sizes(int64_t in_channels) {
  CheckpointSizes sizes;
  sizes.unet.in_channels = in_channels;
  sizes.unet.down_blocks = {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"};
  sizes.unet.up_blocks = {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"};
  sizes.unet.channels = {64, 128, 128};
  sizes.unet.layers = {1, 1, 1};
  sizes.unet.heads = {2, 4, 4};
  sizes.unet.transformer_layers = {1, 1, 1};
  sizes.unet.only_cross_attention = {false, false, false};
  sizes.unet.text_width = 64;
  sizes.autoencoder.channels = {32, 64, 64, 64};
  sizes.text = {.vocabulary = 514, .positions = 77, .width = 64, .hidden = 128, .layers = 2, .heads = 2};
  return sizes;
}

/// PNDM as Stable Diffusion 1.5 configures it.
inline void write_scheduler(const std::filesystem::path& folder) {
  io::write_json(folder / "scheduler_config.json", boost::json::object{{"_class_name", "PNDMScheduler"},
                                                                       {"beta_end", 0.012},
                                                                       {"beta_schedule", "scaled_linear"},
                                                                       {"beta_start", 0.00085},
                                                                       {"num_train_timesteps", 1000},
                                                                       {"set_alpha_to_one", false},
                                                                       {"skip_prk_steps", true},
                                                                       {"steps_offset", 1}});
}

template <class Network, class Config> Network random_network(const Config& config, const std::string& name) {
  Network network(config);
  nn::initialise(*network, name, /*seed=*/0);
  return network;
}

/// A whole checkpoint with random weights, the same at each call, and a tokenizer of bytes. One network lies in memory at a time.
inline void write_random_checkpoint(const std::filesystem::path& root, const CheckpointSizes& sizes, c10::ScalarType dtype) {
  for (const char* part : {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}) std::filesystem::create_directories(root / part);
  {
    auto unet = random_network<diffusion::UNet>(sizes.unet, "unet");
    diffusion::save_unet(root / "unet", unet, dtype);
  }
  {
    auto autoencoder = random_network<diffusion::Autoencoder>(sizes.autoencoder, "vae");
    diffusion::save_autoencoder(root / "vae", autoencoder, dtype);
  }
  auto text_encoder = random_network<diffusion::TextEncoder>(sizes.text, "text");
  diffusion::save_text_encoder(root / "text_encoder", text_encoder, dtype);
  diffusion::save_byte_tokenizer(root / "tokenizer", sizes.text.positions);
  write_scheduler(root / "scheduler");
  diffusion::save_model_index(root, sizes.unet.in_channels == 8 ? "StableDiffusionInstructPix2PixPipeline" : "StableDiffusionPipeline");
}

}  // namespace syncdr::bench
