#pragma once
#include <boost/json.hpp>

#include "support/temporary_folder.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/unet.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/weights.h"

/// A whole checkpoint with random weights that computes in milliseconds: latents of 4 channels and half the image's side, texts of 8 tokens.
namespace syncdr::diffusion {

struct TinyCheckpoint {
  int64_t unet_channels = 4;  ///< 8: InstructPix2Pix
  bool silent = false;        ///< the UNet's output is 0
  int64_t width = 8;          ///< channels of the finest level; 32: most layers are wide enough for the kernels
  std::string scheduler = R"("_class_name": "DDIMScheduler", "clip_sample": false)";

  /// Writes it. Weights are the same at each call.
  void put(const std::filesystem::path& root) const {
    for (const char* part : {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}) std::filesystem::create_directory(root / part);
    const boost::json::object sampler = boost::json::parse("{" + scheduler + "}").as_object();
    ::test::put(root / "model_index.json", R"({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", )" + boost::json::serialize(sampler.at("_class_name")) +
                                               "]}");
    put_networks(root);
    ::test::put(root / "tokenizer/vocab.json", R"({"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "<|startoftext|>": 4, "<|endoftext|>": 5})");
    ::test::put(root / "tokenizer/merges.txt", "#version: 0.2\n");
    ::test::put(root / "tokenizer/tokenizer_config.json", R"({"model_max_length": 8})");
    ::test::put(root / "scheduler/scheduler_config.json", "{" + scheduler + R"(, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})");
  }

  static boost::json::object unet_fields(int64_t channels, int64_t width) {
    return {{"_class_name", "UNet2DConditionModel"},
            {"in_channels", channels},
            {"block_out_channels", {width, 2 * width}},
            {"down_block_types", {"CrossAttnDownBlock2D", "DownBlock2D"}},
            {"up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D"}},
            {"layers_per_block", 1},
            {"attention_head_dim", 2},
            {"norm_num_groups", 4},
            {"cross_attention_dim", 6}};
  }

  /// The network alone, as put() writes it.
  static UNet make_unet(int64_t channels = 4, int64_t width = 8) {
    ConfigReader reader(unet_fields(channels, width), "unet/config.json");
    UNet unet(read_unet_config(reader));
    nn::initialise(*unet, "unet", 1);
    unet->eval();
    return unet;
  }

 private:
  void put_networks(const std::filesystem::path& root) const {
    UNet unet = make_unet(unet_channels, width);
    const torch::NoGradGuard no_grad;
    if (silent)
      for (const char* name : {"conv_out.weight", "conv_out.bias"}) nn::state_of(*unet).at(name).zero_();
    ::test::put(root / "unet/config.json", boost::json::serialize(unet_fields(unet_channels, width)));
    io::write_safetensors(root / "unet/diffusion_pytorch_model.safetensors", nn::state_of(*unet));
    const boost::json::object vae{{"_class_name", "AutoencoderKL"},
                                  {"block_out_channels", {width, 2 * width}},
                                  {"down_block_types", {"DownEncoderBlock2D", "DownEncoderBlock2D"}},
                                  {"up_block_types", {"UpDecoderBlock2D", "UpDecoderBlock2D"}},
                                  {"norm_num_groups", 4}};
    ConfigReader reader(vae, "vae/config.json");
    ::test::put(root / "vae/config.json", boost::json::serialize(vae));
    Autoencoder autoencoder(read_autoencoder_config(reader));
    nn::initialise(*autoencoder, "vae", 1);
    io::write_safetensors(root / "vae/diffusion_pytorch_model.safetensors", nn::state_of(*autoencoder));
    ::test::put(root / "text_encoder/config.json",
                R"({"model_type": "clip_text_model", "vocab_size": 6, "hidden_size": 6, "intermediate_size": 12, "num_hidden_layers": 1,
                    "num_attention_heads": 2, "max_position_embeddings": 8})");
    TextEncoder text_encoder(read_text_encoder_config(root / "text_encoder/config.json"));
    nn::initialise(*text_encoder, "text_encoder", 1);
    io::write_safetensors(root / "text_encoder/model.safetensors", nn::state_of(*text_encoder));
  }
};

}  // namespace syncdr::diffusion
