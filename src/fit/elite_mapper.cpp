#include "syncdr/fit/elite_mapper.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include <algorithm>

#include "checks.h"
#include "denoiser_step.h"
#include "sample_sheet.h"
#include "syncdr/diffusion/elite.h"
#include "syncdr/diffusion/prompts.h"
#include "syncdr/diffusion/sampling.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/optimizer.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;

const std::string keys = "fit.elite_mapper";

const std::vector<std::string> built_in_texts{"a photo of S",       "a picture of a S",     "an image of the S",   "a rendering of S",  "a close view of S",
                                              "a wide view of S",   "a good picture of S",  "a simple image of S", "a dark photo of S", "a bright photo of S",
                                              "a clean photo of S", "a cropped photo of S", "a picture of one S",  "a small S",         "a large S"};

/// The texts of each domain, domain after domain.
std::vector<std::string> texts_of(const EliteMapperConfig& config, int64_t domains) {
  if (!config.prompts.empty()) return config.prompts;
  std::vector<std::string> texts;
  for (int64_t i = 0; i < domains; ++i) texts.insert(texts.end(), built_in_texts.begin(), built_in_texts.end());
  return texts;
}

DenoiserOptions options_of(const EliteMapperConfig& config, int64_t domains, bool condition) {
  return {.images = {.batch = config.batch / domains, .augment = config.augment, .extra = config.extra_split, .keys = keys},
          .domains = domains,
          .texts = std::ssize(texts_of(config, domains)) / domains,
          .condition = condition,
          .drop_prompt = config.drop_prompt,
          .drop_condition = config.drop_condition,
          .sigmas = config.sigmas,
          .condition_noise = config.condition_noise,
          .min_snr_gamma = config.min_snr_gamma,
          .bfloat16 = config.precision == "bf16"};
}

fs::path image_encoder_of(const EliteMapperConfig& config) {
  return config.image_encoder.empty() ? fs::path(config.from) / "image_encoder" : fs::path(config.image_encoder);
}

void check_settings(const EliteMapperConfig& config, int64_t domains, int ranks) {
  if (config.from.empty())
    throw core::UsageError("{}.from names no checkpoint, and translate.diffusion.checkpoint neither: a mapper is trained for a model that is there", keys);
  if (config.batch % domains != 0 || config.batch < ranks)
    throw core::UsageError("{}.batch = {}: needs a multiple of the {} domains, as many images of each, of at least the {} ranks", keys, config.batch, domains,
                           ranks);
  if (!config.prompts.empty() && std::ssize(config.prompts) != domains)
    throw core::UsageError("{}.prompts has {} texts for {} domains: needs one each, or none", keys, config.prompts.size(), domains);
  check_sigmas(config.sigmas, keys);
  if (config.states.size() != diffusion::WordMapperConfig().states.size())
    throw core::UsageError("{}.states has {} numbers: needs one for each of the {} words", keys, config.states.size(),
                           diffusion::WordMapperConfig().states.size());
}

/// Where the word S stands in each text. Throws UsageError where it is not once, or has no room for all words.
std::vector<int64_t> places_of(const diffusion::Tokenizer& tokenizer, const std::vector<std::string>& texts, int64_t words) {
  std::vector<int64_t> places;
  for (const std::string& text : texts) {
    try {
      places.push_back(diffusion::subject_position(tokenizer, text, words));
    } catch (const core::DataError& error) {
      throw core::UsageError("{}.prompts: {}", keys, error.what());
    }
  }
  return places;
}

diffusion::WordMapperConfig mapper_config(const EliteMapperConfig& config, const diffusion::CheckpointFolder& checkpoint) {
  const fs::path folder = image_encoder_of(config);
  if (!fs::is_directory(folder))
    throw core::UsageError("{} is not there. Set {}.image_encoder to the folder of a CLIP model, such as openai/clip-vit-large-patch14", folder.string(), keys);
  const auto vision = diffusion::read_vision_encoder_config(folder);
  if (const int64_t last = *std::max_element(config.states.begin(), config.states.end()); last > vision.layers)
    throw core::UsageError("{}.states names hidden state {}, the image encoder {} has {} layers", keys, last, folder.string(), vision.layers);
  const auto unet = diffusion::read_unet_config(checkpoint);
  return {
      .image_width = vision.width, .hidden = config.hidden, .width = unet.text_width, .states = config.states, .attentions = diffusion::cross_attentions(unet)};
}

/// Initial values: the mapping networks' are a function of the seed, the projections are the UNet's own.
diffusion::WordMapper new_mapper(const diffusion::WordMapperConfig& config, const diffusion::UNet& unet, uint64_t seed) {
  diffusion::WordMapper mapper(config);
  nn::initialise(*mapper, "elite.mapper", seed);
  const torch::NoGradGuard no_grad;
  const io::NamedTensors weights = nn::state_of(*unet);
  const auto projections = mapper->projections(at::kFloat);
  for (size_t i = 0; i < projections.size(); ++i) {
    projections[i].key.copy_(weights.at(config.attentions[i].name + ".to_k.weight"));
    projections[i].value.copy_(weights.at(config.attentions[i].name + ".to_v.weight"));
  }
  return mapper;
}

/// A mapper with its optimizer and data, on every rank alike.
class EliteMapperFit : public training::Learner {
 public:
  EliteMapperFit(const training::Task& task, const EliteMapperConfig& config, const DenoiserNetworks& networks, diffusion::VisionEncoder image_encoder,
                 diffusion::WordMapper mapper, const diffusion::Tokenizer& tokenizer)
      : config_(config), domains_(std::ssize(task.domains)),
        denoiser_(task, task.domains, networks,
                  options_of(config, domains_, takes_condition(networks.unet->config(), networks.autoencoder->config(), config.from, keys))),
        networks_(denoiser_.networks()), image_encoder_(std::move(image_encoder)), mapper_(std::move(mapper)), parallel_(task.world, *mapper_),
        optimizer_(training::make_optimizer(parallel_.parameters(), config.optimizer)) {
    const std::vector<std::string> texts = texts_of(config, domains_);
    places_ = places_of(tokenizer, texts, std::ssize(config.states));
    places_.push_back(1);  // of no text, anywhere
    const torch::NoGradGuard no_grad;
    vectors_ = networks_.text_encoder->token_vectors(ids_of(tokenizer, texts, keys + ".prompts").to(denoiser_.device()));
    for (const auto& domain : task.domains) samples_.push_back(sample_images(task.dataset.real(domain, "train"), config.augment, 8));
  }

  std::vector<std::string> loss_names() const override { return {"loss", "word_magnitude"}; }
  void begin(int64_t first, int64_t last) override { denoiser_.begin(first, last); }
  double learning_rate(int64_t step) const override { return training::learning_rate_at(config_.optimizer, step, config_.steps); }

  at::Tensor step(int64_t step) override {
    training::set_learning_rate(*optimizer_, learning_rate(step));
    const DenoiserBatch batch = denoiser_.next();
    const std::vector<at::Tensor> states = states_of(batch.images);
    parallel_.before_forward();
    const at::Tensor words = mapper_->forward(states);
    const at::Tensor share = denoiser_.loss_share(batch, [&](const DenoiserBatch&) { return text_of(batch.prompts, words); });
    const at::Tensor magnitude = words.abs().mean({1, 2}).sum() / static_cast<double>(config_.batch);
    parallel_.backward(share + config_.word_penalty * magnitude);
    training::clip_gradient(parallel_.parameters(), config_.optimizer.clip);
    optimizer_->step();
    return at::stack({share.detach(), magnitude.detach()});
  }

  training::Checkpoint checkpoint(int64_t steps_done) const override {
    training::Checkpoint checkpoint{.step = steps_done};
    training::put_prefix(checkpoint.tensors, nn::state_of(*mapper_), "model.");
    training::put_prefix(checkpoint.tensors, training::optimizer_state(*optimizer_), "optimizer.");
    return checkpoint;
  }

  void restore(const training::Checkpoint& checkpoint, const std::string& where) override {
    nn::load_state(*mapper_, training::take_prefix(checkpoint.tensors, "model."), where);
    training::load_optimizer_state(*optimizer_, training::take_prefix(checkpoint.tensors, "optimizer."), where);
  }

  void save_samples(const fs::path& png) override {
    const torch::NoGradGuard no_grad;
    std::vector<at::Tensor> painted;
    for (int64_t k = 0; k < domains_; ++k) painted.push_back(paint(samples_[static_cast<size_t>(k)], (k + 1) % domains_));
    write_sample_sheet(png, at::cat(samples_), at::cat(painted));
  }

  std::vector<fs::path> save(const fs::path& folder) override {
    fs::create_directories(folder);
    diffusion::save_word_mapper(folder / mapper_file, mapper_, {{diffusion::image_encoder_key, nn::state_hash(*image_encoder_)}});
    return {mapper_file};
  }

  std::string advice() const override {
    return fmt::format("Lower {}.optimizer.learning_rate (now {}){}", keys, config_.optimizer.learning_rate,
                       config_.precision == "fp32" ? "" : fmt::format(", or use {}.precision = \"fp32\"", keys));
  }

 private:
  /// All hidden states of the image encoder, without gradients.
  std::vector<at::Tensor> states_of(const at::Tensor& images) {
    const torch::NoGradGuard no_grad;
    return image_encoder_->forward(diffusion::clip_pixels(nn::from_bytes(images, denoiser_.device()), image_encoder_->config().side));
  }

  /// The texts of these numbers [b] with the words [b, n, D] in them; the last, no text, without.
  diffusion::TextContext text_of(const at::Tensor& texts, const at::Tensor& words) {
    std::vector<int64_t> places;
    for (const int64_t text : std::span(texts.const_data_ptr<int64_t>(), static_cast<size_t>(texts.numel())))
      places.push_back(places_[static_cast<size_t>(text)]);
    const at::Tensor rows = texts.to(denoiser_.device()), vectors = vectors_.index_select(0, rows);
    const at::Tensor has_words = (rows < vectors_.size(0) - 1).view({-1, 1, 1});
    const at::Tensor all = at::where(has_words, diffusion::with_words(vectors, words, places), vectors);
    return networks_.unet->prepare(networks_.text_encoder->encode(all), mapper_->projections(at::kFloat));
  }

  /// What the first word of each image makes of it under a domain's text, [n, 3, S, S] uint8.
  at::Tensor paint(const at::Tensor& images, int64_t domain) {
    const at::Tensor words = mapper_->forward(states_of(images)).narrow(1, 0, 1);
    const training::Autocast autocast = denoiser_.arithmetic();
    const at::Tensor text = at::full({images.size(0)}, domain * denoiser_.options().texts, at::kLong), none = at::full_like(text, vectors_.size(0) - 1);
    return denoiser_.paint(diffusion::text_guidance(text_of(text, words), text_of(none, words), /*scale=*/5), images, /*steps=*/20);
  }

  EliteMapperConfig config_;
  int64_t domains_;
  DenoiserStep denoiser_;
  DenoiserNetworks& networks_;
  diffusion::VisionEncoder image_encoder_;
  diffusion::WordMapper mapper_;
  training::DataParallel parallel_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::vector<int64_t> places_;      // of the word S in each text
  at::Tensor vectors_;               // [n + 1, L, D]: of the texts' tokens, of which the last is none
  std::vector<at::Tensor> samples_;  // of each domain, [n, 3, S, S] uint8
};

}  // namespace

void check_elite_mapper(const training::Task& task, const EliteMapperConfig& config) {
  const int64_t domains = std::ssize(task.domains);
  check_settings(config, domains, task.world.size());
  check_training(config.optimizer, /*ema=*/0, keys);
  check_images(task, options_of(config, domains, /*condition=*/false).images);
  const diffusion::CheckpointFolder checkpoint(config.from, config.variant);
  const auto autoencoder = diffusion::read_autoencoder_config(checkpoint);
  check_side(config.augment.crop, autoencoder.factor(), keys);
  takes_condition(diffusion::read_unet_config(checkpoint), autoencoder, config.from, keys);
  places_of(diffusion::load_tokenizer(checkpoint), texts_of(config, domains), std::ssize(config.states));
  mapper_config(config, checkpoint);
}

void fit_elite_mapper(const training::Task& task, const EliteMapperConfig& config) {
  check_elite_mapper(task, config);
  training::RunPlan plan = training::plan_of(task, fmt::format("ELITE's mapper of {}", fmt::join(task.domains, " and ")), config, keys, config.batch);
  plan.bound_by = training::bound_by_schedule(config.optimizer.schedule, keys + ".optimizer");
  if (training::finished_run(task.world, plan)) return;
  const diffusion::CheckpointFolder checkpoint(config.from, config.variant);
  DenoiserNetworks networks = read_networks(checkpoint);
  diffusion::VisionEncoder image_encoder = diffusion::load_vision_encoder(image_encoder_of(config));
  diffusion::WordMapper mapper = new_mapper(mapper_config(config, checkpoint), networks.unet, task.seed);
  set_trained(*networks.unet, false);
  set_trained(*networks.text_encoder, false);
  set_trained(*networks.autoencoder, false);
  set_trained(*image_encoder, false);
  image_encoder->to(task.world.device());
  mapper->to(task.world.device());
  EliteMapperFit fit(task, config, networks, image_encoder, mapper, diffusion::load_tokenizer(checkpoint));
  training::run(task.world, fit, plan);
}

}  // namespace syncdr::fit
