#pragma once
#include "diffusion/tiny_checkpoint.h"
#include "syncdr/diffusion/elite.h"

/// An image encoder and a mapper with random weights for TinyCheckpoint, beside it in the folder that put() is given.
namespace syncdr::diffusion {

struct TinyElite {
  static constexpr const char *image_encoder = "image_encoder", *mapper = "mapper.safetensors";

  static VisionEncoderConfig vision() { return {.side = 8, .patch = 4, .width = 6, .hidden = 8, .layers = 16, .heads = 2}; }

  static WordMapper make_mapper(int64_t image_width = vision().width, int64_t width = 6) {
    WordMapper made(WordMapperConfig{.image_width = image_width, .hidden = 5, .width = width, .attentions = TinyCheckpoint::make_unet()->text_attentions()});
    nn::initialise(*made, "mapper", 1);
    return made;
  }

  /// Weights are the same at each call.
  static void put(const std::filesystem::path& folder) {
    put_image_encoder(folder / image_encoder, vision());
    save_word_mapper(folder / mapper, make_mapper());
  }

  static void put_image_encoder(const std::filesystem::path& folder, const VisionEncoderConfig& config) {
    std::filesystem::create_directories(folder);
    ::test::put(folder / "config.json", boost::json::serialize(boost::json::object{{"model_type", "clip_vision_model"},
                                                                                   {"image_size", config.side},
                                                                                   {"patch_size", config.patch},
                                                                                   {"hidden_size", config.width},
                                                                                   {"intermediate_size", config.hidden},
                                                                                   {"num_hidden_layers", config.layers},
                                                                                   {"num_attention_heads", config.heads}}));
    VisionEncoder encoder(config);
    nn::initialise(*encoder, "image_encoder", 1);
    nn::state_of(*encoder).at("vision_model.embeddings.class_embedding").detach().fill_(0.5);
    io::write_safetensors(folder / "model.safetensors", nn::state_of(*encoder));
  }
};

}  // namespace syncdr::diffusion
