#include "diffusion_translator.h"

namespace syncdr::translate {
namespace {

/// Whether all steps lie below the strength, or the last ones are taken.
bool spreads(const TranslateConfig& config) { return config.img2img.cut == "spread"; }
double share_of(const TranslateConfig& config) { return spreads(config) ? 1 : config.img2img.strength; }
double below_of(const TranslateConfig& config) { return spreads(config) ? config.img2img.strength : 1; }

/// SDEdit (Meng et al., ICLR 2022) under the target's description.
class Img2ImgTranslator : public DiffusionTranslator {
 public:
  Img2ImgTranslator(const TranslateConfig& config, c10::Device device) : DiffusionTranslator(config, device, share_of(config), below_of(config)) {}

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override {
    const auto scheduler = make_scheduler();
    const auto branches = guidance(texts_of(requests), config().img2img.guidance);
    return diffusion::img2img(model(), *scheduler, images, branches, share_of(config()), noise_for(requests));
  }

  std::map<std::string, std::string> own_settings() const override {
    std::map<std::string, std::string> settings{{"strength", fmt::format("{}", config().img2img.strength)},
                                                {"guidance", fmt::format("{}", config().img2img.guidance)}};
    if (spreads(config())) settings.emplace("cut", config().img2img.cut);
    return settings;
  }
};

}  // namespace

void check_img2img(const TranslateConfig& config) { refuse_condition(config, check_diffusion(config, share_of(config), below_of(config))); }

std::unique_ptr<Translator> make_img2img(const TranslateConfig& config, const std::string&, const std::string&, c10::Device device) {
  return std::make_unique<Img2ImgTranslator>(config, device);
}

}  // namespace syncdr::translate
