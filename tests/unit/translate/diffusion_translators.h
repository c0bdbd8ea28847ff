#pragma once
#include <ATen/ops/randint.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "diffusion/tiny_elite.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

inline constexpr int64_t side = 16, images_a_batch = 3;

/// Two checkpoints and a prompt file; translators that use them.
class DiffusionTranslators : public testing::Test {
 protected:
  DiffusionTranslators() {
    std::filesystem::create_directory(folder / "plain");
    std::filesystem::create_directory(folder / "instruct");
    diffusion::TinyCheckpoint{}.put(folder / "plain");
    diffusion::TinyCheckpoint{.unet_channels = 8}.put(folder / "instruct");
    diffusion::TinyElite::put(folder.path());
    test::put(folder / "prompts.toml", "[ink]\ndescription = \"a b\"\ninstruction = \"b a\"\nsubject = \"b S a\"\n[colour]\ndescription = \"a\"\n");
    torch::manual_seed(5);
    images = at::randint(0, 256, {images_a_batch, 3, side, side}, at::kByte);
  }

  TranslateConfig config(const std::string& translator) const {
    TranslateConfig config{.translator = translator, .prompts = (folder / "prompts.toml").string(), .size = side, .batch = images_a_batch};
    config.diffusion.checkpoint = (folder / (translator == "instruct" || translator == "structure" ? "instruct" : "plain")).string();
    config.diffusion.steps = 4;
    config.img2img.strength = 0.5;
    config.elite.image_encoder = (folder / diffusion::TinyElite::image_encoder).string();
    config.elite.mapper = (folder / diffusion::TinyElite::mapper).string();
    return config;
  }
  std::unique_ptr<Translator> make(const TranslateConfig& settings) const { return make_translator(settings, "colour", "ink", at::kCPU); }

  static Request request(uint64_t key, int32_t variant = 0, const std::string& prompt = "a S") {
    return {.seed = 7, .key_hash = key, .variant = variant, .prompt = prompt};
  }
  std::vector<Request> requests() const { return {request(11), request(12), request(13)}; }

  TemporaryFolder folder;
  at::Tensor images;
};

}  // namespace syncdr::translate
