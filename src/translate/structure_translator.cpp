#include <ATen/ops/empty.h>

#include "diffusion_translator.h"
#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/diffusion/structure_map.h"

namespace syncdr::translate {
namespace {

/// InstructPix2Pix's layout with the image's structure map in the image's place, from pure noise under the target's description. Such a model is trained
/// without pairs: to paint an image of its own domain from its map.
class StructureTranslator : public DiffusionTranslator {
 public:
  StructureTranslator(const TranslateConfig& config, c10::Device device) : DiffusionTranslator(config, device) {}

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override {
    const auto& range = config().structure.sigma;
    const at::Tensor sigmas = at::empty({images.size(0)}, at::kFloat);
    for (size_t i = 0; i < requests.size(); ++i) {
      core::Random random(requests[i].seed, core::Purpose::structure, requests[i].key_hash, static_cast<uint32_t>(requests[i].variant));
      sigmas.data_ptr<float>()[i] = static_cast<float>(random.uniform(range[0], range[1]));
    }
    const at::Tensor map = diffusion::structure_map(images, sigmas).expand({-1, 3, -1, -1});
    const auto scheduler = make_scheduler();
    const auto guidance = diffusion::instruct_guidance(texts_of(requests), negative(), model().image_condition(map), config().structure.guidance,
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
  const auto& sigma = config.structure.sigma;
  if (sigma.size() != 2 || sigma[0] > sigma[1]) throw core::UsageError("translate.structure.sigma must be [smallest, largest]");
  if (check_diffusion(config) == 0)
    throw core::UsageError("{}: its network takes no image beside the noise, where the structure map belongs. Train one with `syncdr fit diffusion`",
                           config.diffusion.checkpoint);
}

std::unique_ptr<Translator> make_structure(const TranslateConfig& config, const std::string&, const std::string&, c10::Device device) {
  return std::make_unique<StructureTranslator>(config, device);
}

}  // namespace syncdr::translate
