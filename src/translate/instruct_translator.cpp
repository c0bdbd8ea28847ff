#include "diffusion_translators.h"
#include "syncdr/core/error.h"

namespace syncdr::translate {

InstructTranslator::InstructTranslator(const TranslateConfig& config, c10::Device device) : DiffusionTranslator(config, device) {
  if (model().condition_channels() == 0)
    throw core::UsageError("{}: its network takes no image beside the noise: it is no InstructPix2Pix. Use the translator img2img or ddib",
                           config.diffusion.checkpoint);
}

at::Tensor InstructTranslator::paint(const at::Tensor& images, std::span<const Request> requests) {
  const auto scheduler = make_scheduler();
  const auto guidance = diffusion::instruct_guidance(texts_of(requests), negative(), model().image_condition(images), config().instruct.guidance,
                                                     config().instruct.image_guidance);
  return diffusion::generate(model(), *scheduler, guidance, noise_for(requests));
}

std::map<std::string, std::string> InstructTranslator::own_settings() const {
  return {{"guidance", fmt::format("{}", config().instruct.guidance)}, {"image_guidance", fmt::format("{}", config().instruct.image_guidance)}};
}

}  // namespace syncdr::translate
