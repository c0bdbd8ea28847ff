#include "diffusion_translator.h"
#include "syncdr/core/error.h"

namespace syncdr::translate {
namespace {

/// InstructPix2Pix (Brooks, Holynski and Efros, CVPR 2023).
class InstructTranslator : public DiffusionTranslator {
 public:
  InstructTranslator(const TranslateConfig& config, c10::Device device) : DiffusionTranslator(config, device) {}

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override {
    const auto scheduler = make_scheduler();
    const auto guidance = diffusion::instruct_guidance(texts_of(requests), negative(), model().image_condition(images), config().instruct.guidance,
                                                       config().instruct.image_guidance);
    return diffusion::generate(model(), *scheduler, guidance, noise_for(requests));
  }

  std::map<std::string, std::string> own_settings() const override {
    return {{"guidance", fmt::format("{}", config().instruct.guidance)}, {"image_guidance", fmt::format("{}", config().instruct.image_guidance)}};
  }
};

}  // namespace

void check_instruct(const TranslateConfig& config) {
  if (check_diffusion(config) == 0)
    throw core::UsageError("{}: its network takes no image beside the noise: it is no InstructPix2Pix. Use the translator img2img or ddib",
                           config.diffusion.checkpoint);
}

std::unique_ptr<Translator> make_instruct(const TranslateConfig& config, const std::string&, const std::string&, c10::Device device) {
  return std::make_unique<InstructTranslator>(config, device);
}

}  // namespace syncdr::translate
