#include <ATen/ops/cat.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "diffusion_translator.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/elite.h"
#include "syncdr/nn/one_thread.h"

namespace syncdr::translate {
namespace {

diffusion::EliteFiles files_of(const TranslateConfig& config) {
  std::filesystem::path image_encoder = config.elite.image_encoder;
  if (image_encoder.empty()) image_encoder = std::filesystem::path(config.diffusion.checkpoint) / "image_encoder";
  return {.image_encoder = image_encoder, .mapper = config.elite.mapper};
}

/// The square of [3, S, S] around the object [S, S], with a margin as a share of the object's longer side: moved into the image where it would leave it. The
/// whole where there is no object, as in what pads a batch.
at::Tensor cropped(const at::Tensor& picture, const at::Tensor& object, double margin) {
  int64_t first[2], last[2];  // of rows and columns with the object
  for (const int64_t dimension : {0, 1}) {
    const at::Tensor there = object.any(1 - dimension).nonzero().flatten();
    if (there.numel() == 0) return picture;
    first[dimension] = there[0].item<int64_t>();
    last[dimension] = there[-1].item<int64_t>();
  }
  const int64_t size = picture.size(1), longer = std::max(last[0] - first[0], last[1] - first[1]) + 1;
  const auto side = std::min(size, static_cast<int64_t>(std::ceil(static_cast<double>(longer) * (1 + 2 * margin))));
  const auto begin = [&](int64_t dimension) { return std::clamp<int64_t>((first[dimension] + last[dimension] + 1 - side) / 2, 0, size - side); };
  return picture.narrow(1, begin(0), side).narrow(2, begin(1), side);
}

/// ELITE (Wei et al., ICCV 2023) under the target's text, whose word S is made of the image.
class EliteTranslator : public DiffusionTranslator {
 public:
  EliteTranslator(const TranslateConfig& config, c10::Device device)
      : DiffusionTranslator(config, device, config.elite.strength),
        elite_(model(), diffusion::CheckpointFolder(config.diffusion.checkpoint, config.diffusion.variant), files_of(config)) {
    const nn::OneThread one_thread;
    negative_.emplace(elite_.encode_text(config.diffusion.negative_prompt));
  }
  bool takes_masks() const override { return !config().elite.masks.empty(); }
  std::string cut_from(const std::string& text) const override { return elite_.cut_from(text, all_words() ? 5 : 1); }

 private:
  bool all_words() const { return config().elite.word < 0; }

  /// What the image encoder sees of an image [3 or 4, S, S]: [1, 3, side, side].
  at::Tensor seen(const at::Tensor& image) const {
    if (!takes_masks()) return diffusion::clip_pixels(image.unsqueeze(0), elite_.side());
    const at::Tensor picture = image.narrow(0, 0, 3), object = image[3] > 0;
    const at::Tensor shown = config().elite.background == "black" ? at::where(object, picture, -1) : picture;
    return diffusion::clip_pixels((config().elite.crop ? cropped(shown, object, config().elite.margin) : shown).unsqueeze(0), elite_.side());
  }

  /// [k, n, D] of images [k, 3 or 4, S, S]
  at::Tensor words_of(const at::Tensor& images) {
    std::vector<at::Tensor> pictures;
    for (int64_t i = 0; i < images.size(0); ++i) pictures.push_back(seen(images[i]));
    const at::Tensor all = elite_.words_of(at::cat(pictures));
    return all_words() ? all : all.narrow(1, config().elite.word, 1);
  }

  bool sees_structure() const { return config().elite.structure && model().condition_channels() > 0; }

  /// Towards the texts, away from the negative one. A network that takes an image beside the noise sees the structure map in both branches, or none: its
  /// latents are 0, as where training drops it.
  std::vector<diffusion::Branch> branches_for(const at::Tensor& images, std::span<const Request> requests) {
    std::vector<std::string> texts;
    for (const Request& request : requests) texts.push_back(request.prompt);
    auto branches = diffusion::text_guidance(elite_.encode_text(texts, words_of(images)), *negative_, config().elite.guidance, model().takes_guidance());
    if (model().condition_channels() == 0) return branches;
    const std::vector<int64_t> latent = model().latent_shape(size(), size());
    const at::Tensor condition = sees_structure() ? structure_condition(images.narrow(1, 0, 3), requests)
                                                  : at::zeros({images.size(0), model().condition_channels(), latent[1], latent[2]}, images.options());
    for (diffusion::Branch& branch : branches) branch.image = condition;
    return branches;
  }

  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override {
    const auto scheduler = make_scheduler();
    const auto branches = branches_for(images, requests);
    if (config().elite.strength == 1) return diffusion::generate(model(), *scheduler, branches, noise_for(requests));
    return diffusion::img2img(model(), *scheduler, images.narrow(1, 0, 3), branches, config().elite.strength, noise_for(requests));
  }

  std::map<std::string, std::string> own_settings() const override {
    std::map<std::string, std::string> settings{{"elite", elite_.hash()},
                                                {"word", std::to_string(config().elite.word)},
                                                {"guidance", fmt::format("{}", config().elite.guidance)},
                                                {"strength", fmt::format("{}", config().elite.strength)}};
    if (sees_structure()) settings.emplace("sigma", fmt::format("{}", fmt::join(config().structure.sigma, " ")));
    if (!takes_masks()) return settings;
    settings.emplace("background", config().elite.background);
    settings.emplace("crop", config().elite.crop ? fmt::format("{}", config().elite.margin) : "false");
    return settings;
  }

  diffusion::Elite elite_;
  std::optional<diffusion::TextContext> negative_;
};

}  // namespace

void check_elite(const TranslateConfig& config) {
  if (config.diffusion.checkpoint.empty())
    throw core::UsageError("the translator \"elite\" needs a checkpoint: set translate.diffusion.checkpoint to a folder of Stable Diffusion");
  check_sigma(config);
  const int64_t beside = check_diffusion(config, config.elite.strength).value_or(0);
  const diffusion::CheckpointFolder checkpoint(config.diffusion.checkpoint, config.diffusion.variant);
  if (beside != 0 && beside != diffusion::read_autoencoder_config(checkpoint).latent_channels)
    throw core::UsageError("{}: its network takes {} channels beside the noise, which are not the latents of an image, as in a model that fills masks in",
                           config.diffusion.checkpoint, beside);
  const diffusion::EliteFiles files = files_of(config);
  if (!files.mapper.empty() && !std::filesystem::is_regular_file(files.mapper))
    throw core::DataError(
        "{} is not there. Train a mapper with `syncdr fit elite-mapper`, or make one of ELITE's global_mapper.pt with `syncdr-data convert --as "
        "elite`, and name it with translate.elite.mapper",
        files.mapper.string());
  if (!std::filesystem::is_directory(files.image_encoder))
    throw core::UsageError("{} is not there. Set translate.elite.image_encoder to the folder of a CLIP model, such as openai/clip-vit-large-patch14",
                           files.image_encoder.string());
  if (!files.mapper.empty()) diffusion::check_elite_files(checkpoint, files);
}

std::unique_ptr<Translator> make_elite(const TranslateConfig& config, const std::string&, const std::string&, c10::Device device) {
  if (config.elite.mapper.empty())
    throw core::DataError("the translator \"elite\" has no mapper. Train one with `syncdr fit elite-mapper`, or name one with translate.elite.mapper");
  return std::make_unique<EliteTranslator>(config, device);
}

}  // namespace syncdr::translate
