#include "diffusion_translator.h"
#include "syncdr/core/error.h"

namespace syncdr::translate {
namespace {

/// InstructPix2Pix's layout with the image's structure map in the image's place, from pure noise under the target's description. Such a model is trained
/// without pairs: to paint an image of its own domain from its map.
class StructureTranslator : public DiffusionTranslator {
 public:
  StructureTranslator(const TranslateConfig& config, c10::Device device) : DiffusionTranslator(config, device) {}

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override {
    const auto scheduler = make_scheduler();
    const auto guidance = diffusion::instruct_guidance(texts_of(requests), negative(), structure_condition(images, requests), config().structure.guidance,
                                                       config().structure.image_guidance);
    return diffusion::generate(model(), *scheduler, guidance, noise_for(requests));
  }

  std::map<std::string, std::string> own_settings() const override {
    return {{"guidance", fmt::format("{}", config().structure.guidance)},
            {"image_guidance", fmt::format("{}", config().structure.image_guidance)},
            {"sigma", fmt::format("{}", fmt::join(config().structure.sigma, " "))}};
  }
};

}  // namespace

void check_structure(const TranslateConfig& config) {
  check_sigma(config);
  if (check_diffusion(config) == 0)
    throw core::UsageError("{}: its network takes no image beside the noise, where the structure map belongs. Train one with `syncdr fit diffusion`",
                           config.diffusion.checkpoint);
}

std::unique_ptr<Translator> make_structure(const TranslateConfig& config, const std::string&, const std::string&, c10::Device device) {
  return std::make_unique<StructureTranslator>(config, device);
}

}  // namespace syncdr::translate
