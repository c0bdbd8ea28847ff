#include "diffusion_translator.h"

#include <ATen/ops/empty.h>
#include <torch/version.h>

#include <algorithm>

#include "each_image.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/philox.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/learned_tokens.h"
#include "syncdr/diffusion/structure_map.h"
#include "syncdr/diffusion/unet.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/identity.h"
#include "syncdr/nn/one_thread.h"

namespace syncdr::translate {
namespace {

/// Steps of an image's noise: a redraw, another variant or another sampler never shares numbers with these.
constexpr uint32_t start_noise = 0, encoding_noise = 1, first_step_noise = 2;

/// Texts kept: a run with one for each image must not fill the memory with them (8 MB each in Stable Diffusion 1.5).
constexpr size_t max_encoded = 64;

c10::ScalarType precision_of(const std::string& name) {
  if (name == "fp32") return c10::kFloat;
  if (name == "bf16") return c10::kBFloat16;
  if (name == "fp16") return c10::kHalf;
  throw core::UsageError("unknown precision \"{}\". Use one of fp32, bf16, fp16.", name);
}

diffusion::Additions additions_of(const DiffusionConfig& config) {
  diffusion::Additions additions{.tokens = {config.tokens.begin(), config.tokens.end()}, .autoencoder = config.autoencoder};
  for (const LoraConfig& lora : config.lora) {
    if (lora.file.empty()) throw core::UsageError("translate.diffusion.lora[{}] names no file: write [{{file = \"...\"}}]", additions.lora.size());
    additions.lora.push_back({lora.file, lora.scale});
  }
  return additions;
}

/// The configuration of the autoencoder that is used. Throws UsageError where its latents are no such maps as the checkpoint's.
diffusion::AutoencoderConfig autoencoder_of(const DiffusionConfig& config, const diffusion::CheckpointFolder& checkpoint) {
  const auto own = diffusion::read_autoencoder_config(checkpoint);
  if (config.autoencoder.empty()) return own;
  const auto other = diffusion::read_autoencoder_config(std::filesystem::path(config.autoencoder));
  if (other.latent_channels != own.latent_channels || other.factor() != own.factor())
    throw core::UsageError("translate.diffusion.autoencoder = \"{}\": a latent has {} channels and stands for {} pixels a side, in {} {} and {}",
                           config.autoencoder, other.latent_channels, other.factor(), config.checkpoint, own.latent_channels, own.factor());
  return other;
}

std::unique_ptr<diffusion::Scheduler> planned(const DiffusionConfig& config, const std::string& name, double eta, double below) {
  auto scheduler = diffusion::load_scheduler(diffusion::CheckpointFolder(config.checkpoint), name, {.eta = eta, .spacing = config.spacing});
  scheduler->set_steps(config.steps, below);
  return scheduler;
}

void say_sampler(const DiffusionConfig& config, double share, double below) {
  const auto scheduler = planned(config, config.scheduler, config.eta, below);
  const auto start = static_cast<size_t>(scheduler->start_index(share));
  const std::vector<double>& times = scheduler->timesteps();
  core::info("sampler {}: {} of {} calls of the UNet, the first at timestep {:.6g} ({} spacing)", scheduler->name(), times.size() - start, times.size(),
             times[start], scheduler->spacing());
}

diffusion::CheckpointFolder checkpoint_of(const TranslateConfig& config, double share, double below) {
  if (config.diffusion.checkpoint.empty())
    throw core::DataError(
        "the translator \"{}\" has no model. Train one with `syncdr fit diffusion`, or name a checkpoint folder with "
        "translate.diffusion.checkpoint",
        config.translator);
  say_sampler(config.diffusion, share, below);
  return diffusion::CheckpointFolder(config.diffusion.checkpoint, config.diffusion.variant);
}

/// What the files of tokens are, for provenance: the words of each, and its hash.
std::string describe_tokens(const DiffusionConfig& config) {
  std::vector<std::string> files;
  for (const std::string& file : config.tokens) {
    std::string words;
    for (const auto& token : diffusion::read_learned_tokens(file)) words += token.name + " ";
    files.push_back(words + io::hash_file(file));
  }
  return fmt::format("{}", fmt::join(files, ", "));
}

}  // namespace

std::optional<int64_t> check_diffusion(const TranslateConfig& config, double share, double below) {
  const DiffusionConfig& diffusion = config.diffusion;
  const auto& names = diffusion::sampler_names();
  if (!diffusion.scheduler.empty() && std::find(names.begin(), names.end(), diffusion.scheduler) == names.end())
    throw core::UsageError("translate.diffusion.scheduler = \"{}\" is not one of {}", diffusion.scheduler, fmt::join(names, ", "));
  const diffusion::Additions additions = additions_of(diffusion);
  if (diffusion.checkpoint.empty()) {  // it is to be fitted: what the files hold can be looked at
    if (!diffusion.autoencoder.empty())
      throw core::UsageError(
          "translate.diffusion.autoencoder takes the place of that of translate.diffusion.checkpoint, which is not set: a model that is "
          "fitted here knows the latents of its own only");
    diffusion::check_lora(additions.lora, nullptr);
    for (const auto& file : additions.tokens) diffusion::read_learned_tokens(file);
    return std::nullopt;
  }
  const diffusion::CheckpointFolder checkpoint(diffusion.checkpoint, diffusion.variant);
  diffusion::check_lora(additions.lora, &checkpoint);
  planned(diffusion, diffusion.scheduler, diffusion.eta, below)->start_index(share);
  diffusion::check_learned_tokens(checkpoint, additions.tokens);
  const auto autoencoder = autoencoder_of(diffusion, checkpoint);
  if (config.size % autoencoder.factor() != 0)
    throw core::UsageError("translate.size is {}: the checkpoint's autoencoder needs a multiple of {}", config.size, autoencoder.factor());
  return diffusion::read_unet_config(checkpoint).in_channels - autoencoder.latent_channels;
}

void check_sigma(const TranslateConfig& config) {
  const auto& sigma = config.structure.sigma;
  if (sigma.size() != 2 || sigma[0] > sigma[1]) throw core::UsageError("translate.structure.sigma must be [smallest, largest]");
}

void refuse_condition(const TranslateConfig& config, std::optional<int64_t> condition_channels) {
  if (condition_channels.value_or(0) != 0)
    throw core::UsageError("{}: its network takes an image beside the noise, which {} has none for. Use the translator instruct or structure",
                           config.diffusion.checkpoint, config.translator);
}

DiffusionTranslator::DiffusionTranslator(const TranslateConfig& config, c10::Device device, double share, double below)
    : config_(config), below_(below), row_(*find_translator(config.translator)),
      model_(checkpoint_of(config, share, below), {.dtype = precision_of(config.diffusion.precision), .device = device, .winograd = config.diffusion.winograd},
             additions_of(config.diffusion)),
      hash_(model_.hash()), configuration_hash_(diffusion::CheckpointFolder(config.diffusion.checkpoint).configuration_hash()),
      tokens_(describe_tokens(config.diffusion)) {
  std::vector<std::string> lora;
  for (const diffusion::LoraFile& one : additions_of(config.diffusion).lora) lora.push_back(provenance_of(one));
  lora_ = fmt::format("{}", fmt::join(lora, ", "));
  say_cut(config.diffusion.negative_prompt, cut_from(config.diffusion.negative_prompt));
  model_.record_steps(config.diffusion.cuda_graph);
}

Translated DiffusionTranslator::translate(const at::Tensor& images, std::span<const Request> requests) {
  SYNCDR_ASSERT(images.dim() == 4 && images.size(0) == batch() && images.size(3) == size(), "the model is called with its own batch and size");
  return to_bytes(each_image(images, model_.device(), [&](const at::Tensor& part, int64_t first) {
    return paint(part, requests.subspan(static_cast<size_t>(first), static_cast<size_t>(part.size(0))));
  }));
}

std::unique_ptr<diffusion::Scheduler> DiffusionTranslator::make_scheduler(const std::string& name, double eta) const {
  return planned(config_.diffusion, name, eta, below_);
}

diffusion::TextContext DiffusionTranslator::encoded(const std::string& text) {
  const std::lock_guard lock(mutex_);
  const auto found = encoded_.find(text);
  if (found != encoded_.end()) return found->second;
  if (encoded_.size() >= max_encoded) encoded_.clear();
  const nn::OneThread one_thread;
  return encoded_.emplace(text, model_.encode_text({text})).first->second;
}

diffusion::TextContext DiffusionTranslator::texts_of(std::span<const Request> requests) {
  std::vector<diffusion::TextContext> texts;
  bool equal = true;
  for (const Request& request : requests) {
    texts.push_back(encoded(request.prompt));
    equal = equal && request.prompt == requests[0].prompt;
  }
  return equal ? texts[0] : diffusion::join(texts);
}

std::vector<diffusion::Branch> DiffusionTranslator::guidance(const diffusion::TextContext& text, double scale) {
  return diffusion::text_guidance(text, negative(), scale, model_.takes_guidance());
}

at::Tensor DiffusionTranslator::structure_condition(const at::Tensor& images, std::span<const Request> requests) {
  const auto& range = config_.structure.sigma;
  const at::Tensor sigmas = at::empty({images.size(0)}, at::kFloat);
  for (size_t i = 0; i < requests.size(); ++i) {
    core::Random random(requests[i].seed, core::Purpose::structure, requests[i].key_hash, static_cast<uint32_t>(requests[i].variant));
    sigmas.data_ptr<float>()[i] = static_cast<float>(random.uniform(range[0], range[1]));
  }
  return model_.image_condition(diffusion::structure_map(images, sigmas).expand({-1, 3, -1, -1}));
}

at::Tensor DiffusionTranslator::draw(std::span<const Request> requests, uint32_t step) const {
  std::vector<int64_t> shape = model_.latent_shape(size(), size());
  shape.insert(shape.begin(), static_cast<int64_t>(requests.size()));
  const at::Tensor noise = at::empty(shape, at::kFloat);
  const auto count = static_cast<size_t>(noise.numel()) / requests.size();
  for (size_t i = 0; i < requests.size(); ++i) {
    core::Random random(requests[i].seed, core::Purpose::noise, requests[i].key_hash, static_cast<uint32_t>(requests[i].variant), step);
    random.fill_normal({noise.data_ptr<float>() + i * count, count});
  }
  return noise.to(model_.device());
}

diffusion::PipelineNoise DiffusionTranslator::noise_for(std::span<const Request> requests) const {
  return {.encoding = draw(requests, encoding_noise), .start = draw(requests, start_noise), .step = [this, requests](int64_t i) {
            return draw(requests, first_step_noise + static_cast<uint32_t>(i));
          }};
}

std::map<std::string, std::string> DiffusionTranslator::provenance() const {
  const DiffusionConfig& diffusion = config_.diffusion;
  auto settings = own_settings();
  if (const auto cut = cut_from(diffusion.negative_prompt); !cut.empty()) settings.emplace("negative_prompt_cut", cut);
  if (!tokens_.empty()) settings.emplace("tokens", tokens_);
  if (!diffusion.spacing.empty()) settings.emplace("spacing", diffusion.spacing);
  if (!lora_.empty()) settings.emplace("lora", lora_);
  if (!diffusion.autoencoder.empty()) settings.emplace("autoencoder", io::last_name(diffusion.autoencoder));
  if (!diffusion.winograd) settings.emplace("winograd", "false");
  if (diffusion.cuda_graph) settings.emplace("cuda_graph", "true");
  settings.merge(std::map<std::string, std::string>{{"translator", config_.translator},
                                                    {"model", hash_},
                                                    {"configuration", configuration_hash_},
                                                    {"checkpoint", io::last_name(diffusion.checkpoint)},
                                                    {"scheduler", make_scheduler()->name()},
                                                    {"steps", std::to_string(diffusion.steps)},
                                                    {"eta", fmt::format("{}", diffusion.eta)},
                                                    {"precision", diffusion.precision},
                                                    {"negative_prompt", diffusion.negative_prompt},
                                                    {"size", std::to_string(size())},
                                                    {"batch", std::to_string(batch())},
                                                    {"device", c10::DeviceTypeName(model_.device().type(), true)},
                                                    {"libtorch", TORCH_VERSION}});
  return settings;
}

}  // namespace syncdr::translate
