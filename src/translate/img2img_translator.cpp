#include "diffusion_translator.h"

namespace syncdr::translate {
namespace {

/// SDEdit (Meng et al., ICLR 2022) under the target's description.
class Img2ImgTranslator : public DiffusionTranslator {
 public:
  Img2ImgTranslator(const TranslateConfig& config, c10::Device device) : DiffusionTranslator(config, device, config.img2img.strength) {}

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override {
    const auto scheduler = make_scheduler();
    const auto guidance = diffusion::text_guidance(texts_of(requests), negative(), config().img2img.guidance);
    return diffusion::img2img(model(), *scheduler, images, guidance, config().img2img.strength, noise_for(requests));
  }

  std::map<std::string, std::string> own_settings() const override {
    return {{"strength", fmt::format("{}", config().img2img.strength)}, {"guidance", fmt::format("{}", config().img2img.guidance)}};
  }
};

}  // namespace

void check_img2img(const TranslateConfig& config) { refuse_condition(config, check_diffusion(config, config.img2img.strength)); }

std::unique_ptr<Translator> make_img2img(const TranslateConfig& config, const std::string&, const std::string&, c10::Device device) {
  return std::make_unique<Img2ImgTranslator>(config, device);
}

}  // namespace syncdr::translate
