#include "syncdr/fit/cut.h"

#include <ATen/ops/tensor.h>

#include <numeric>
#include <optional>

#include "checks.h"
#include "sample_sheet.h"
#include "syncdr/core/philox.h"
#include "syncdr/gan/cut.h"
#include "syncdr/gan/generator_file.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/autocast.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/ema.h"
#include "syncdr/training/optimizer.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;

/// What is optimized together: the generator and the heads that its PatchNCE uses.
struct TranslatorImpl : torch::nn::Module {
  TranslatorImpl(const gan::GeneratorConfig& config, bool with_heads)
      : generator(register_module("generator", gan::Generator(config))),
        // Without PatchNCE the heads would get no gradient, which the reducer waits for.
        heads(register_module("heads", gan::PatchProjection(with_heads ? generator->feature_channels() : std::vector<int64_t>{}))) {}
  gan::Generator generator;
  gan::PatchProjection heads;
};
TORCH_MODULE(Translator);

/// With initial parameters, on the device.
template <class Network> Network initialised(Network network, const std::string& name, uint64_t seed, c10::Device device) {
  gan::initialise(*network, name, seed);
  network->to(device);
  return network;
}

training::OptimizerConfig adam(const CutConfig& config, double rate) {
  return {.name = "adam", .learning_rate = rate, .betas = config.betas, .weight_decay = 0, .schedule = config.schedule};
}

UnpairedOptions images_of(const CutConfig& config) { return {.batch = config.batch, .augment = config.augment, .extra = {}, .keys = "fit.cut"}; }

void set_trainable(torch::nn::Module& module, bool trainable) {
  for (at::Tensor& parameter : module.parameters()) parameter.set_requires_grad(trainable);
}

/// Where PatchNCE compares in one step: per layer of features [B, C, h, w] min(patches, h*w) different locations, the same for every image of the global
/// batch.
std::vector<at::Tensor> patch_locations(const std::vector<at::Tensor>& features, int64_t patches, uint64_t seed, int64_t step) {
  std::vector<at::Tensor> locations;
  for (size_t layer = 0; layer < features.size(); ++layer) {
    const int64_t places = features[layer].size(2) * features[layer].size(3);
    std::vector<int64_t> order(static_cast<size_t>(places));
    std::iota(order.begin(), order.end(), 0);
    const auto count = static_cast<size_t>(std::min(patches, places));
    core::Random random(seed, core::Purpose::patches, layer, 0, static_cast<uint32_t>(step));
    for (size_t i = 0; i < count; ++i) std::swap(order[i], order[i + random.below(order.size() - i)]);  // the start of a Fisher-Yates shuffle
    order.resize(count);
    locations.push_back(at::tensor(order, at::kLong).to(features[layer].device()));
  }
  return locations;
}

/// One direction's networks with their optimizers and data, on every rank alike.
class CutFit : public training::Learner {
 public:
  CutFit(const training::Task& task, const CutConfig& config)
      : world_(task.world), config_(config), seed_(task.seed), device_(task.world.device()),
        batches_(task.dataset, task.domains, images_of(config), task.seed, training::part_of(config.batch, task.world.rank(), task.world.size())),
        translator_(initialised(Translator(config.generator, config.nce_weight > 0), "translator", task.seed, device_)),
        discriminator_(initialised(gan::Discriminator(config.discriminator), "discriminator", task.seed, device_)),
        translator_settings_(adam(config, config.learning_rate)), discriminator_settings_(adam(config, config.discriminator_learning_rate)),
        translator_parallel_(task.world, *translator_), discriminator_parallel_(task.world, *discriminator_),
        translator_optimizer_(training::make_optimizer(translator_parallel_.parameters(), translator_settings_)),
        discriminator_optimizer_(training::make_optimizer(discriminator_parallel_.parameters(), discriminator_settings_)),
        samples_(sample_images(task.dataset.real(task.domains.at(0), "train"), config.augment)) {
    if (config.ema > 0) ema_.emplace(*translator_->generator, config.ema);
  }

  std::vector<std::string> loss_names() const override { return {"loss_discriminator", "loss_gan", "loss_nce"}; }

  void begin(int64_t first, int64_t last) override {
    ahead_.emplace([this](int64_t step) { return batches_.load(step); }, first, last, world_.threads(0));
  }

  double learning_rate(int64_t step) const override { return training::learning_rate_at(translator_settings_, step, config_.steps); }

  /// The discriminator's step, then that of generator and heads.
  at::Tensor step(int64_t step) override {
    const UnpairedBatch batch = ahead_->next();
    const at::Tensor source = nn::from_bytes(batch.at(0), device_), target = nn::from_bytes(batch.at(1), device_);
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
    const at::Tensor gan_loss = gan::lsgan(scores_of(translated), true) * share;
    // The mean over source and target images is the paper's (NCE(x, G(x)) + NCE(y, G(y))) / 2.
    const at::Tensor nce = with_nce ? nce_loss(output, step) * share : at::zeros_like(gan_loss);
    translator_parallel_.backward(config_.gan_weight * gan_loss + config_.nce_weight * nce);
    translator_optimizer_->step();
    set_trainable(*discriminator_, true);
    if (ema_) ema_->update(*translator_->generator);
    return at::stack({discriminator_loss, gan_loss.detach(), nce.detach()});
  }

  training::Checkpoint checkpoint(int64_t steps_done) const override {
    training::Checkpoint checkpoint{.step = steps_done};
    training::put_prefix(checkpoint.tensors, nn::state_of(*translator_), "translator.");
    training::put_prefix(checkpoint.tensors, nn::state_of(*discriminator_), "discriminator.");
    training::put_prefix(checkpoint.tensors, training::optimizer_state(*translator_optimizer_), "optimizer.translator.");
    training::put_prefix(checkpoint.tensors, training::optimizer_state(*discriminator_optimizer_), "optimizer.discriminator.");
    training::put_average(checkpoint, ema_);
    return checkpoint;
  }

  void restore(const training::Checkpoint& checkpoint, const std::string& where) override {
    const auto part = [&](const std::string& prefix) { return training::take_prefix(checkpoint.tensors, prefix); };
    nn::load_state(*translator_, part("translator."), where);
    nn::load_state(*discriminator_, part("discriminator."), where);
    training::load_optimizer_state(*translator_optimizer_, part("optimizer.translator."), where);
    training::load_optimizer_state(*discriminator_optimizer_, part("optimizer.discriminator."), where);
    training::take_average(checkpoint, ema_, where);
  }

  void save_samples(const fs::path& png) override {
    const torch::NoGradGuard no_grad;
    write_sample_sheet(png, samples_, nn::to_bytes(kept_generator()->forward(nn::from_bytes(samples_, device_))));
  }

  std::vector<fs::path> save(const fs::path& folder) override {
    gan::save_generator(folder / "generator.safetensors", kept_generator());
    return {"generator.safetensors"};
  }

  std::string advice() const override {
    return fmt::format("Lower fit.cut.learning_rate (now {}) and fit.cut.discriminator_learning_rate (now {}){}", config_.learning_rate,
                       config_.discriminator_learning_rate, config_.precision == "fp32" ? "" : ", or use fit.cut.precision = \"fp32\"");
  }

 private:
  at::Tensor scores_of(const at::Tensor& images) {
    const training::Autocast autocast(device_, config_.precision == "bf16");
    return discriminator_->forward(images).to(at::kFloat);
  }

  at::Tensor discriminator_step(const at::Tensor& translated, const at::Tensor& target, double share) {
    discriminator_parallel_.before_forward();
    const at::Tensor scores = scores_of(at::cat({translated, target}));  // one call, norms are per image
    const int64_t half = translated.size(0);
    const at::Tensor loss = (gan::lsgan(scores.narrow(0, 0, half), false) + gan::lsgan(scores.narrow(0, half, half), true)) * (0.5 * share);
    discriminator_parallel_.backward(loss);
    discriminator_optimizer_->step();
    return loss.detach();
  }

  at::Tensor nce_loss(const gan::GeneratorOutput& output, int64_t step) {
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

  /// The trained generator, or its moving average where there is one.
  gan::Generator kept_generator() const {
    if (!ema_) return translator_->generator;
    gan::Generator generator(config_.generator);
    nn::load_state(*generator, ema_->average(), "the generator's moving average");
    generator->to(device_);
    return generator;
  }

  comm::World& world_;
  CutConfig config_;
  uint64_t seed_;
  c10::Device device_;
  UnpairedBatches batches_;
  Translator translator_;
  gan::Discriminator discriminator_;
  training::OptimizerConfig translator_settings_, discriminator_settings_;
  training::DataParallel translator_parallel_, discriminator_parallel_;
  std::unique_ptr<torch::optim::Optimizer> translator_optimizer_, discriminator_optimizer_;
  std::optional<training::Ema> ema_;
  at::Tensor samples_;                                    // [n, 3, S, S] uint8
  std::optional<data::Prefetcher<UnpairedBatch>> ahead_;  // last: its threads use the batches
};

}  // namespace

void check_cut(const training::Task& task, const CutConfig& config) {
  const int ranks = task.world.size();
  if (config.batch < ranks) throw core::UsageError("fit.cut.batch = {} is less than the {} ranks: raise it or start fewer ranks", config.batch, ranks);
  const int64_t side = config.augment.crop;
  if (side % 4 != 0 || side < 16) throw core::UsageError("fit.cut.augment.crop = {}: CUT needs a multiple of 4, at least 16", side);
  check_weights({config.gan_weight, config.nce_weight}, "fit.cut");
  check_training(adam(config, config.learning_rate), config.ema, "fit.cut");
  const torch::NoGradGuard no_grad;
  const gan::Generator generator(config.generator);  // refuses layers that it has not
  gan::Discriminator(config.discriminator)->forward(at::zeros({1, 3, side, side}));
  check_images(task, images_of(config));
}

void fit_cut(const training::Task& task, const CutConfig& config) {
  check_cut(task, config);
  const std::string title = fmt::format("CUT {} -> {}", task.domains.at(0), task.domains.at(1));
  training::RunPlan plan = training::plan_of(task, title, config, "fit.cut", config.batch);
  plan.bound_by = training::bound_by_schedule(config.schedule, "fit.cut");
  if (training::finished_run(task.world, plan)) return;
  CutFit fit(task, config);
  training::run(task.world, fit, plan);
}

}  // namespace syncdr::fit
