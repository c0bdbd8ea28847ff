#include "fits.h"

#include <algorithm>

namespace syncdr::app {
namespace fs = std::filesystem;
namespace {

/// Tokens and mappers are trained for the checkpoint that translates where no other is named.
template <class Config> Config for_own_checkpoint(Config config, const Settings& settings) {
  if (!config.from.empty()) return config;
  config.from = settings.translate.diffusion.checkpoint;
  config.variant = settings.translate.diffusion.variant;
  return config;
}

fit::TextualInversionConfig textual_inversion(const Settings& settings) { return for_own_checkpoint(settings.fit.textual_inversion, settings); }

fit::EliteMapperConfig elite_mapper(const Settings& settings) {
  fit::EliteMapperConfig config = for_own_checkpoint(settings.fit.elite_mapper, settings);
  if (config.image_encoder.empty()) config.image_encoder = settings.translate.elite.image_encoder;
  return config;
}

}  // namespace

const std::vector<Fit>& fits() {
  static const std::vector<Fit> table{
      {.name = "cut",
       .given = [](auto& config) -> std::string& { return config.cut.weights; },
       .most_ranks = [](auto& settings) { return settings.cut.batch; },
       .folders =
           [](auto& job) {
             std::vector<fs::path> folders;
             for (const auto& direction : job.directions()) folders.push_back(job.cut_folder(direction));
             return folders;
           },
       .model = [](auto& job, auto& direction) { return (job.cut_folder(direction) / "generator.safetensors").string(); },
       .check = [](auto& job) { fit::check_cut(job.task(job.domains, job.out), job.settings.fit.cut); },
       .run =
           [](Job& job) {
             for (const auto& direction : job.directions())
               fit::fit_cut(job.task({direction.source, direction.target}, job.cut_folder(direction)), job.settings.fit.cut);
           }},
      {.name = "diffusion",
       .given = [](auto& config) -> std::string& { return config.diffusion.checkpoint; },
       .most_ranks =
           [](auto& settings) {
             const auto& config = settings.diffusion;
             return config.from.empty() ? std::min(config.batch, config.autoencoder.batch) : config.batch;
           },
       .folders = [](auto& job) { return std::vector{job.diffusion_folder(), job.diffusion_folder() / "autoencoder"}; },
       .model = [](auto& job, auto&) { return fs::exists(job.diffusion_folder()) ? (job.diffusion_folder() / "checkpoint").string() : ""; },
       .check = [](auto& job) { fit::check_diffusion(job.task(job.domains, job.diffusion_folder()), job.settings.fit.diffusion); },
       .run = [](Job& job) { fit::fit_diffusion(job.task(job.domains, job.diffusion_folder()), job.settings.fit.diffusion); }},
      {.name = "textual-inversion",
       .given = nullptr,
       .most_ranks = [](auto& settings) { return settings.textual_inversion.batch; },
       .folders =
           [](auto& job) {
             std::vector<fs::path> folders;
             for (const auto& token : fit::tokens_of(job.settings.fit.textual_inversion, job.domains))
               folders.push_back(job.textual_inversion_folder() / token.domain);
             return folders;
           },
       .model = nullptr,
       .check = [](auto& job) { fit::check_textual_inversion(job.task(job.domains, job.textual_inversion_folder()), textual_inversion(job.settings)); },
       .run = [](Job& job) { fit::fit_textual_inversion(job.task(job.domains, job.textual_inversion_folder()), textual_inversion(job.settings)); }},
      {.name = "elite-mapper",
       .given = [](auto& config) -> std::string& { return config.elite.mapper; },
       .most_ranks = [](auto& settings) { return settings.elite_mapper.batch; },
       .folders = [](auto& job) { return std::vector{job.elite_mapper_folder()}; },
       .model = [](auto& job, auto&) { return fs::exists(job.elite_mapper_folder()) ? (job.elite_mapper_folder() / fit::mapper_file).string() : ""; },
       .check = [](auto& job) { fit::check_elite_mapper(job.task(job.domains, job.elite_mapper_folder()), elite_mapper(job.settings)); },
       .run = [](Job& job) { fit::fit_elite_mapper(job.task(job.domains, job.elite_mapper_folder()), elite_mapper(job.settings)); }},
  };
  return table;
}

const Fit* fit_for(const translate::TranslatorRow& translator) { return translator.model.empty() ? nullptr : &named(fits(), translator.model); }

bool uses_fitted_tokens(const Settings& settings, const translate::TranslatorRow& translator) {
  return settings.translate.diffusion.fitted_tokens && translator.prompt;
}

std::vector<const Fit*> missing_fits(const Settings& settings, const ArmPart& part) {
  std::vector<const Fit*> missing;
  if (!part.translator) return missing;
  const Fit* model = fit_for(*part.translator);
  translate::TranslateConfig config = settings.translate;
  if (model && model->given(config).empty()) missing.push_back(model);
  if (uses_fitted_tokens(settings, *part.translator)) missing.push_back(&named(fits(), "textual-inversion"));
  return missing;
}

}  // namespace syncdr::app
