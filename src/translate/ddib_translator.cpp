#include "diffusion_translator.h"
#include "syncdr/core/error.h"

namespace syncdr::translate {
namespace {

TranslateConfig with_ddim(TranslateConfig config) {
  const std::string& name = config.diffusion.scheduler;
  if (!name.empty() && name != "DDIMScheduler") throw core::UsageError("translate.diffusion.scheduler = \"{}\": ddib inverts DDIM. Leave it empty", name);
  if (config.diffusion.eta != 0) throw core::UsageError("translate.diffusion.eta = {}: ddib draws no noise. Set it to 0", config.diffusion.eta);
  config.diffusion.scheduler = "DDIMScheduler";
  return config;
}

/// Dual diffusion implicit bridges (Su et al., ICLR 2023): nothing random.
class DdibTranslator : public DiffusionTranslator {
 public:
  DdibTranslator(const TranslateConfig& config, const std::string& source, c10::Device device)
      : DiffusionTranslator(with_ddim(config), device, config.ddib.depth), source_prompt_(domain_prompt(config, source, diffusion::PromptKind::description)) {
    say_cut(source_prompt_, cut_from(source_prompt_));
  }

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override {
    const auto inverse = make_scheduler("DDIMInverseScheduler", 0), scheduler = make_scheduler();
    const auto source = guidance(encoded(source_prompt_), config().ddib.source_guidance);
    const auto target = guidance(texts_of(requests), config().ddib.guidance);
    return diffusion::ddib(model(), *inverse, *scheduler, images, source, target, config().ddib.depth);
  }

  std::map<std::string, std::string> own_settings() const override {
    std::map<std::string, std::string> settings{{"depth", fmt::format("{}", config().ddib.depth)},
                                                {"source_guidance", fmt::format("{}", config().ddib.source_guidance)},
                                                {"guidance", fmt::format("{}", config().ddib.guidance)},
                                                {"source_prompt", source_prompt_}};
    if (const auto cut = cut_from(source_prompt_); !cut.empty()) settings.emplace("source_prompt_cut", cut);
    return settings;
  }

  std::string source_prompt_;
};

}  // namespace

void check_ddib(const TranslateConfig& config) { refuse_condition(config, check_diffusion(with_ddim(config), config.ddib.depth)); }

std::unique_ptr<Translator> make_ddib(const TranslateConfig& config, const std::string& source, const std::string&, c10::Device device) {
  return std::make_unique<DdibTranslator>(config, source, device);
}

}  // namespace syncdr::translate
