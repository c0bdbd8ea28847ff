#include "cut_model.h"

#include "patch_locations.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/autocast.h"

namespace syncdr::fit {
namespace {

Translator make_translator(const CutConfig& config, uint64_t seed, c10::Device device) {
  Translator translator(config.generator, config.nce_weight > 0);
  gan::initialise(*translator, "translator", seed);
  translator->to(device);
  return translator;
}

gan::Discriminator make_discriminator(const CutConfig& config, uint64_t seed, c10::Device device) {
  gan::Discriminator discriminator(config.discriminator);
  gan::initialise(*discriminator, "discriminator", seed);
  discriminator->to(device);
  return discriminator;
}

training::OptimizerConfig adam(const CutConfig& config, double rate) {
  return {.name = "adam", .learning_rate = rate, .betas = config.betas, .weight_decay = 0, .schedule = config.schedule};
}

void set_trainable(torch::nn::Module& module, bool trainable) {
  for (at::Tensor& parameter : module.parameters()) parameter.set_requires_grad(trainable);
}

}  // namespace

TranslatorImpl::TranslatorImpl(const gan::GeneratorConfig& config, bool with_heads)
    : generator(register_module("generator", gan::Generator(config))),
      // Without PatchNCE the heads would get no gradient, which the reducer waits for.
      heads(register_module("heads", gan::PatchProjection(with_heads ? generator->feature_channels() : std::vector<int64_t>{}))) {}

CutModel::CutModel(comm::World& world, const CutConfig& config, uint64_t seed)
    : config_(config),
      seed_(seed),
      device_(world.device()),
      translator_(make_translator(config, seed, device_)),
      discriminator_(make_discriminator(config, seed, device_)),
      translator_settings_(adam(config, config.learning_rate)),
      discriminator_settings_(adam(config, config.discriminator_learning_rate)),
      translator_parallel_(world, *translator_),
      discriminator_parallel_(world, *discriminator_),
      translator_optimizer_(training::make_optimizer(translator_->parameters(), translator_settings_)),
      discriminator_optimizer_(training::make_optimizer(discriminator_->parameters(), discriminator_settings_)) {
  if (config.ema > 0) ema_.emplace(*translator_->generator, config.ema);
}

double CutModel::learning_rate(int64_t step) const { return training::learning_rate_at(translator_settings_, step, config_.steps); }

at::Tensor CutModel::discriminator_step(const at::Tensor& translated, const at::Tensor& target, double share) {
  discriminator_parallel_.before_forward();
  at::Tensor scores;
  {
    const training::Autocast autocast(device_, config_.precision == "bf16");
    scores = discriminator_->forward(at::cat({translated, target})).to(at::kFloat);  // one call, norms are per image
  }
  const int64_t half = translated.size(0);
  const at::Tensor loss = (gan::lsgan(scores.narrow(0, 0, half), false) + gan::lsgan(scores.narrow(0, half, half), true)) * (0.5 * share);
  discriminator_parallel_.backward(loss);
  discriminator_optimizer_->step();
  return loss.detach();
}

at::Tensor CutModel::nce_loss(const gan::GeneratorOutput& output, int64_t step) {
  const auto locations = patch_locations(output.features, config_.patches, seed_, step);
  std::vector<at::Tensor> keys, queries;
  {
    // The features that made the translation are the keys: no further pass over the inputs, and keys carry no gradient.
    const torch::NoGradGuard no_grad;
    const training::Autocast autocast(device_, config_.precision == "bf16");
    keys = translator_->heads->forward(output.features, locations);
  }
  {
    const training::Autocast autocast(device_, config_.precision == "bf16");
    queries = translator_->heads->forward(translator_->generator->features(output.images), locations);
  }
  at::Tensor sum = at::zeros({}, output.images.options().dtype(at::kFloat));
  for (size_t layer = 0; layer < keys.size(); ++layer)
    sum = sum + gan::patch_nce(queries[layer].to(at::kFloat), keys[layer].to(at::kFloat), config_.temperature);
  return sum / static_cast<double>(std::max<size_t>(keys.size(), 1));
}

at::Tensor CutModel::step(int64_t step, const UnpairedBatch& batch) {
  const at::Tensor source = nn::from_bytes(batch.source, device_), target = nn::from_bytes(batch.target, device_);
  const double share = static_cast<double>(source.size(0)) / static_cast<double>(config_.batch);
  training::set_learning_rate(*translator_optimizer_, learning_rate(step));
  training::set_learning_rate(*discriminator_optimizer_, training::learning_rate_at(discriminator_settings_, step, config_.steps));

  const bool with_nce = config_.nce_weight > 0;
  translator_parallel_.before_forward();
  gan::GeneratorOutput output;  // of the source images and, for the identity term, of the target images behind them
  {
    const training::Autocast autocast(device_, config_.precision == "bf16");
    output = translator_->generator->forward_with_features(with_nce && config_.identity_nce ? at::cat({source, target}) : source);
    output.images = output.images.to(at::kFloat);
  }
  const at::Tensor translated = output.images.narrow(0, 0, source.size(0));
  const at::Tensor discriminator_loss = discriminator_step(translated.detach(), target, share);

  set_trainable(*discriminator_, false);
  at::Tensor scores;
  {
    const training::Autocast autocast(device_, config_.precision == "bf16");
    scores = discriminator_->forward(translated).to(at::kFloat);
  }
  const at::Tensor gan_loss = gan::lsgan(scores, true) * share;
  // The mean over source and target images is the paper's (NCE(x, G(x)) + NCE(y, G(y))) / 2.
  const at::Tensor nce = with_nce ? nce_loss(output, step) * share : at::zeros_like(gan_loss);
  translator_parallel_.backward(config_.gan_weight * gan_loss + config_.nce_weight * nce);
  translator_optimizer_->step();
  set_trainable(*discriminator_, true);
  if (ema_) ema_->update(*translator_->generator);
  return at::stack({discriminator_loss, gan_loss.detach(), nce.detach()});
}

gan::Generator CutModel::kept_generator() const {
  if (!ema_) return translator_->generator;
  gan::Generator generator(config_.generator);
  nn::load_state(*generator, ema_->average(), "the generator's moving average");
  generator->to(device_);
  return generator;
}

at::Tensor CutModel::translate(const at::Tensor& images) {
  const torch::NoGradGuard no_grad;
  return nn::to_bytes(kept_generator()->forward(nn::from_bytes(images, device_)));
}

training::Checkpoint CutModel::checkpoint(int64_t steps_done) const {
  training::Checkpoint checkpoint{.step = steps_done};
  training::put_prefix(checkpoint.tensors, nn::state_of(*translator_), "translator.");
  training::put_prefix(checkpoint.tensors, nn::state_of(*discriminator_), "discriminator.");
  training::put_prefix(checkpoint.tensors, training::optimizer_state(*translator_optimizer_), "optimizer.translator.");
  training::put_prefix(checkpoint.tensors, training::optimizer_state(*discriminator_optimizer_), "optimizer.discriminator.");
  if (ema_) training::put_prefix(checkpoint.tensors, ema_->average(), "ema.");
  checkpoint.state["ema_updates"] = ema_ ? ema_->updates() : 0;
  return checkpoint;
}

void CutModel::restore(const training::Checkpoint& checkpoint, const std::string& where) {
  const auto part = [&](const std::string& prefix) { return training::take_prefix(checkpoint.tensors, prefix); };
  nn::load_state(*translator_, part("translator."), where);
  nn::load_state(*discriminator_, part("discriminator."), where);
  training::load_optimizer_state(*translator_optimizer_, part("optimizer.translator."), where);
  training::load_optimizer_state(*discriminator_optimizer_, part("optimizer.discriminator."), where);
  if (ema_) ema_->load(part("ema."), io::json_int(checkpoint.state, "ema_updates", where), where);
}

}  // namespace syncdr::fit
