#include "diffusion_translators.h"
#include "syncdr/core/error.h"

namespace syncdr::translate {

Img2ImgTranslator::Img2ImgTranslator(const TranslateConfig& config, c10::Device device) : DiffusionTranslator(config, device, config.img2img.strength) {
  if (model().condition_channels() != 0)
    throw core::UsageError("{}: its network takes an image beside the noise, which img2img has none for. Use the translator instruct or structure",
                           config.diffusion.checkpoint);
}

at::Tensor Img2ImgTranslator::paint(const at::Tensor& images, std::span<const Request> requests) {
  const auto scheduler = make_scheduler();
  const auto guidance = diffusion::text_guidance(texts_of(requests), negative(), config().img2img.guidance);
  return diffusion::img2img(model(), *scheduler, images, guidance, config().img2img.strength, noise_for(requests));
}

std::map<std::string, std::string> Img2ImgTranslator::own_settings() const {
  return {{"strength", fmt::format("{}", config().img2img.strength)}, {"guidance", fmt::format("{}", config().img2img.guidance)}};
}

}  // namespace syncdr::translate
