#include "syncdr/fit/textual_inversion.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <set>

#include "checks.h"
#include "denoiser_step.h"
#include "sample_sheet.h"
#include "syncdr/diffusion/learned_tokens.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/optimizer.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;

const std::string keys = "fit.textual_inversion";

const std::vector<std::string> style_templates{
    "a picture in the style of {}",       "an image in the style of {}",       "a drawing in the style of {}",        "a rendering in the style of {}",
    "a scene in the style of {}",         "an object in the style of {}",      "a thing made in the style of {}",     "a single figure in the style of {}",
    "a close view in the style of {}",    "a wide view in the style of {}",    "a simple picture in the style of {}", "a detailed picture in the style of {}",
    "a light picture in the style of {}", "a dark picture in the style of {}", "a good example of the style of {}",   "the style of {}",
};
const std::vector<std::string> object_templates{
    "a picture of {}",       "an image of {}",          "a photo of {}",        "a drawing of {}",         "a picture of one {}",
    "a picture of the {}",   "a close view of {}",      "a wide view of {}",    "a light picture of {}",   "a dark picture of {}",
    "a clean picture of {}", "a blurred picture of {}", "a cropped view of {}", "a picture of a small {}", "a picture of a large {}",
};

const std::vector<std::string>& templates_of(const TextualInversionConfig& config) {
  if (!config.templates.empty()) return config.templates;
  return config.what == "style" ? style_templates : object_templates;
}

constexpr std::string_view place = "{}";  // of the token

std::vector<std::string> texts_with(const std::string& token, const std::vector<std::string>& templates) {
  std::vector<std::string> texts;
  for (std::string text : templates) texts.push_back(text.replace(text.find(place), place.size(), token));
  return texts;
}

/// "ink</w>" -> "ink": as people write it.
std::string shown(std::string token) {
  constexpr std::string_view word_end = "</w>";
  if (token.ends_with(word_end)) token.resize(token.size() - word_end.size());
  return token;
}

/// The ids of the tokens that the vectors begin as, one each.
std::vector<int64_t> initial_ids(const diffusion::Tokenizer& tokenizer, const std::string& initial, int64_t vectors) {
  std::vector<int64_t> ids = tokenizer.ids(initial);
  if (ids.size() == 1) ids.resize(static_cast<size_t>(vectors), ids[0]);
  if (std::ssize(ids) == vectors) return ids;
  std::vector<std::string> tokens;
  for (const int64_t id : ids) tokens.push_back(shown(tokenizer.token(id)));
  throw core::UsageError("{}.initial: \"{}\" is {} tokens ({}), and {}.vectors = {}. Name a word that is one token, or as many as there are vectors", keys,
                         initial, ids.size(), fmt::join(tokens, ", "), keys, vectors);
}

/// A token's place in the texts that it is learned under, and where it begins.
struct TokenTexts {
  at::Tensor ids;                ///< [n + 1, L] int64: the templates with the token, and no text
  int64_t first = 0;             ///< id of the first vector; the others follow
  std::vector<int64_t> initial;  ///< of each vector
};

TokenTexts texts_of(diffusion::Tokenizer tokenizer, const TokenTask& token, const TextualInversionConfig& config) {
  TokenTexts texts{.initial = initial_ids(tokenizer, token.initial, config.vectors)};
  try {
    texts.first = add_vectors(tokenizer, token.name, config.vectors);
  } catch (const core::UsageError& error) {
    throw core::UsageError("{}.tokens: {}", keys, error.what());
  }
  const auto& templates = templates_of(config);
  texts.ids = ids_of(tokenizer, texts_with(token.name, templates), keys + ".templates");
  const at::Tensor found = (texts.ids >= texts.first).sum(1);
  for (size_t i = 0; i < templates.size(); ++i)
    if (found[static_cast<int64_t>(i)].item<int64_t>() != config.vectors)
      throw core::UsageError(
          "{}.templates: \"{}\" leaves no room for the {} vectors of {}: the text encoder reads {} tokens. Use shorter templates or fewer vectors", keys,
          templates[i], config.vectors, token.name, tokenizer.length() - 2);
  return texts;
}

/// The token embedding's rows of one token, which are all that is trained.
struct TokenVectorsImpl : torch::nn::Module {
  explicit TokenVectorsImpl(const at::Tensor& initial) : rows(register_parameter("rows", initial.clone())) {}
  at::Tensor rows;  // [n, D]
};
TORCH_MODULE(TokenVectors);

DenoiserOptions options_of(const TextualInversionConfig& config, bool condition) {
  return {.images = {.batch = config.batch, .augment = config.augment, .extra = config.extra_split, .keys = keys},
          .texts = std::ssize(templates_of(config)),
          .condition = condition,
          .drop_condition = config.drop_condition,
          .sigmas = config.sigmas,
          .condition_noise = config.condition_noise,
          .min_snr_gamma = config.min_snr_gamma,
          .views = config.views,
          .bfloat16 = config.precision == "bf16"};
}

/// Images of the other domains, or of its own, [n, 3, S, S] uint8.
at::Tensor images_to_show(const training::Task& task, const std::string& domain, const data::AugmentConfig& augment) {
  std::vector<at::Tensor> images;
  for (const auto& other : task.domains)
    if (other != domain || task.domains.size() == 1) images.push_back(sample_images(task.dataset.real(other, "train"), augment, 8));
  return at::cat(images);
}

/// One token's vectors with their optimizer and data, on every rank alike.
class TextualInversion : public training::Learner {
 public:
  TextualInversion(const training::Task& task, const TokenTask& token, const TokenTexts& texts, const DenoiserNetworks& networks,
                   const TextualInversionConfig& config)
      : config_(config), token_(token),
        denoiser_(task, {token.domain}, networks,
                  options_of(config, takes_condition(networks.unet->config(), networks.autoencoder->config(), config.from, keys))),
        networks_(denoiser_.networks()), vectors_(rows_of(texts.initial)), parallel_(task.world, *vectors_),
        optimizer_(training::make_optimizer(parallel_.parameters(), config.optimizer)), images_(images_to_show(task, token.domain, config.augment)) {
    const at::Tensor ids = texts.ids.to(denoiser_.device());
    is_own_ = (ids >= texts.first).unsqueeze(-1);
    own_row_ = (ids - texts.first).clamp_min(0);
    const torch::NoGradGuard no_grad;
    others_ = networks_.text_encoder->token_vectors(ids.masked_fill(ids >= texts.first, 0));
  }

  std::vector<std::string> loss_names() const override { return {"loss"}; }
  void begin(int64_t first, int64_t last) override { denoiser_.begin(first, last); }
  double learning_rate(int64_t step) const override { return training::learning_rate_at(config_.optimizer, step, config_.steps); }

  at::Tensor step(int64_t step) override {
    training::set_learning_rate(*optimizer_, learning_rate(step));
    parallel_.before_forward();
    const at::Tensor share =
        denoiser_.loss_share(denoiser_.next(), [this](const DenoiserBatch& batch) { return hidden(batch.prompts.to(denoiser_.device())); });
    parallel_.backward(share);
    training::clip_gradient(parallel_.parameters(), config_.optimizer.clip);
    optimizer_->step();
    return share.detach().reshape({1});
  }

  training::Checkpoint checkpoint(int64_t steps_done) const override {
    training::Checkpoint checkpoint{.step = steps_done};
    training::put_prefix(checkpoint.tensors, nn::state_of(*vectors_), "model.");
    training::put_prefix(checkpoint.tensors, training::optimizer_state(*optimizer_), "optimizer.");
    return checkpoint;
  }

  void restore(const training::Checkpoint& checkpoint, const std::string& where) override {
    nn::load_state(*vectors_, training::take_prefix(checkpoint.tensors, "model."), where);
    training::load_optimizer_state(*optimizer_, training::take_prefix(checkpoint.tensors, "optimizer."), where);
  }

  void save_samples(const fs::path& png) override {
    const torch::NoGradGuard no_grad;
    const training::Autocast autocast = denoiser_.arithmetic();
    const auto text = [&](int64_t row) { return networks_.unet->prepare(hidden(at::full({1}, row, own_row_.options()))); };
    write_sample_sheet(png, images_, denoiser_.sample(images_, text(0), text(own_row_.size(0) - 1)));
  }

  std::vector<fs::path> save(const fs::path& folder) override {
    fs::create_directories(folder);
    diffusion::write_learned_token(folder / learned_file, {token_.name, vectors_->rows.detach().cpu()});
    return {learned_file};
  }

  boost::json::object record() const override { return {{"token", token_.name}, {"vectors", config_.vectors}}; }

  std::string advice() const override {
    return fmt::format("Lower {}.optimizer.learning_rate (now {}){}", keys, config_.optimizer.learning_rate,
                       config_.precision == "fp32" ? "" : fmt::format(", or use {}.precision = \"fp32\"", keys));
  }

 private:
  at::Tensor rows_of(const std::vector<int64_t>& ids) {
    return networks_.text_encoder->token_table().detach().index_select(0, at::tensor(ids, at::kLong).to(denoiser_.device()));
  }

  /// Hidden states of texts, by their numbers [b] int64: [b, L, D], with gradients to the token's vectors.
  at::Tensor hidden(const at::Tensor& texts) {
    const at::Tensor own = at::embedding(vectors_->rows, own_row_.index_select(0, texts));
    return networks_.text_encoder->encode(at::where(is_own_.index_select(0, texts), own, others_.index_select(0, texts)));
  }

  TextualInversionConfig config_;
  TokenTask token_;
  DenoiserStep denoiser_;
  DenoiserNetworks& networks_;
  TokenVectors vectors_;
  training::DataParallel parallel_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  at::Tensor images_;   // of sample sheets
  at::Tensor is_own_;   // [n + 1, L, 1] bool: where the token stands in the texts, of which the last is none
  at::Tensor own_row_;  // [n + 1, L] int64: which of its vectors; 0 elsewhere
  at::Tensor others_;   // [n + 1, L, D]: the vectors of all other tokens
};

std::string title_of(const TokenTask& token) { return fmt::format("textual inversion of {} as {}", token.domain, token.name); }

training::RunPlan plan_for(const training::Task& task, const TokenTask& token, const TextualInversionConfig& config) {
  training::RunPlan plan =
      training::plan_of({task.world, task.dataset, {token.domain}, task.seed, task.out / token.domain}, title_of(token), config, keys, config.batch);
  // The other domains' tokens are no part of this one's training.
  for (const char* list : {".domains", ".tokens", ".initial"}) plan.identity.erase(keys + list);
  plan.identity.emplace(keys + ".initial", token.initial);
  plan.bound_by = training::bound_by_schedule(config.optimizer.schedule, keys + ".optimizer");
  return plan;
}

void check_settings(const TextualInversionConfig& config, int ranks) {
  for (const std::string& text : templates_of(config)) {
    const size_t at = text.find(place);
    if (at == std::string::npos || text.find(place, at + 1) != std::string::npos)
      throw core::UsageError("{}.templates: \"{}\" needs one {{}}, where the token stands", keys, text);
  }
  if (config.batch < ranks)
    throw core::UsageError("{}.batch = {} for {} ranks: each needs an image of a step. Use a larger batch or fewer ranks", keys, config.batch, ranks);
  check_sigmas(config.sigmas, keys);
  if (config.from.empty())
    throw core::UsageError("{}.from names no checkpoint, and translate.diffusion.checkpoint neither: a token is learned for a model that is there", keys);
}

/// The list, or where it is empty the default of each of n.
template <class Default>
std::vector<std::string> filled(const std::vector<std::string>& list, const std::vector<std::string>& domains, const char* name, Default value) {
  std::vector<std::string> all = list;
  if (all.empty())
    for (const auto& domain : domains) all.push_back(value(domain));
  if (all.size() != domains.size())
    throw core::UsageError("{}.{} has {} entries for {} domains ({}): one each is needed, in their order", keys, name, all.size(), domains.size(),
                           fmt::join(domains, ", "));
  return all;
}

}  // namespace

std::vector<TokenTask> tokens_of(const TextualInversionConfig& config, const std::vector<std::string>& domains) {
  for (const auto& domain : config.domains)
    if (std::find(domains.begin(), domains.end(), domain) == domains.end())
      throw core::UsageError("{}.domains: \"{}\" is none of {}", keys, domain, fmt::join(domains, ", "));
  const std::vector<std::string>& of = config.domains.empty() ? domains : config.domains;
  if (std::set(of.begin(), of.end()).size() != of.size()) throw core::UsageError("{}.domains names one twice: {}", keys, fmt::join(of, ", "));
  const auto names = filled(config.tokens, of, "tokens", [](const auto& domain) { return "<" + domain + ">"; });
  const auto initial = filled(config.initial, of, "initial", [](const auto&) { return std::string(); });
  std::vector<TokenTask> tokens;
  for (size_t i = 0; i < of.size(); ++i) {
    if (names[i].empty()) throw core::UsageError("{}.tokens: the name for {} is empty", keys, of[i]);
    if (initial[i].empty())
      throw core::UsageError("{}.initial: say what the token for {} begins as, for example \"drawing\": a word near to what is to be learned", keys, of[i]);
    tokens.push_back({of[i], names[i], initial[i]});
  }
  for (size_t i = 0; i < names.size(); ++i)
    if (std::count(names.begin(), names.end(), names[i]) > 1) throw core::UsageError("{}.tokens: \"{}\" stands for two domains", keys, names[i]);
  return tokens;
}

void check_textual_inversion(const training::Task& task, const TextualInversionConfig& config) {
  const std::vector<TokenTask> tokens = tokens_of(config, task.domains);
  check_settings(config, task.world.size());
  check_training(config.optimizer, /*ema=*/0, keys);
  std::vector<std::string> domains;
  for (const TokenTask& token : tokens) domains.push_back(token.domain);
  check_images({task.world, task.dataset, domains, task.seed, task.out}, options_of(config, /*condition=*/false).images);
  const diffusion::CheckpointFolder checkpoint(config.from, config.variant);
  const auto autoencoder = diffusion::read_autoencoder_config(checkpoint);
  check_side(config.augment.crop, autoencoder.factor(), keys);
  takes_condition(diffusion::read_unet_config(checkpoint), autoencoder, config.from, keys);
  const diffusion::Tokenizer tokenizer = diffusion::load_tokenizer(checkpoint);
  for (const TokenTask& token : tokens) texts_of(tokenizer, token, config);
}

void fit_textual_inversion(const training::Task& task, const TextualInversionConfig& config) {
  check_textual_inversion(task, config);
  DenoiserNetworks networks;
  for (const TokenTask& token : tokens_of(config, task.domains)) {
    const training::RunPlan plan = plan_for(task, token, config);
    if (training::finished_run(task.world, plan)) continue;
    const diffusion::CheckpointFolder checkpoint(config.from, config.variant);
    if (networks.unet.is_empty()) {
      networks = read_networks(checkpoint);
      set_trained(*networks.unet, false);
      set_trained(*networks.text_encoder, false);
      set_trained(*networks.autoencoder, false);
    }
    const TokenTexts texts = texts_of(diffusion::load_tokenizer(checkpoint), token, config);
    TextualInversion fit(task, token, texts, networks, config);
    training::run(task.world, fit, plan);
  }
}

}  // namespace syncdr::fit
