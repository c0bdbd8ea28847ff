#include "denoiser_model.h"

#include <ATen/Context.h>

#include "denoiser_loss.h"
#include "denoiser_samples.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/autocast.h"

namespace syncdr::fit {
namespace {

namespace fs = std::filesystem;

DenoiserNetworks moved(DenoiserNetworks networks, c10::Device device) {
  networks.unet->to(device);
  networks.text_encoder->to(device);
  networks.autoencoder->to(device);
  networks.tokens = networks.tokens.to(device);
  return networks;
}

void freeze(torch::nn::Module& module) {
  for (at::Tensor& parameter : module.parameters()) parameter.set_requires_grad(false);
}

std::vector<at::Tensor> parameters_to_train(const torch::nn::Module& module) {
  std::vector<at::Tensor> trained;
  for (const at::Tensor& parameter : module.parameters()) {
    if (parameter.requires_grad()) trained.push_back(parameter);
  }
  return trained;
}

/// While it lives, attention is made of matrix products. PyTorch's fused kernel for CPUs is ten times slower backwards in bfloat16 than in float32.
class PlainAttention {
 public:
  explicit PlainAttention(bool on) : before_(at::globalContext().userEnabledFlashSDP()) {
    if (on) at::globalContext().setSDPUseFlash(false);
  }
  ~PlainAttention() { at::globalContext().setSDPUseFlash(before_); }
  PlainAttention(const PlainAttention&) = delete;
  PlainAttention& operator=(const PlainAttention&) = delete;

 private:
  bool before_;
};

/// Each image's keys and values, out of those of the few prompts.
diffusion::TextContext texts_of_images(diffusion::TextContext texts, const at::Tensor& prompts) {
  texts.text = texts.text.narrow(0, 0, 1);  // not read where keys are prepared
  for (diffusion::KeyValue& keys : texts.prepared) keys = {keys.key.index_select(0, prompts), keys.value.index_select(0, prompts)};
  return texts;
}

c10::ScalarType dtype_named(const std::string& name) { return name == "fp16" ? at::kHalf : name == "bf16" ? at::kBFloat16 : at::kFloat; }

}  // namespace

TrainedPartsImpl::TrainedPartsImpl(DenoiserNetworks& networks, const DiffusionFitConfig& config, uint64_t seed) {
  freeze(*networks.autoencoder);
  with_text = config.from.empty();
  if (with_text) {
    register_module("text_encoder", networks.text_encoder);
  } else {
    freeze(*networks.text_encoder);
  }
  if (config.lora_rank == 0) {
    register_module("unet", networks.unet);
    return;
  }
  freeze(*networks.unet);
  lora = register_module("lora", std::make_shared<Lora>(*networks.unet, config.lora_rank, seed));
  if (!networks.new_condition) return;
  const auto conv_in = networks.unet->named_children()["conv_in"];
  register_module("conv_in", conv_in);
  for (at::Tensor& parameter : conv_in->parameters()) parameter.set_requires_grad(true);
}

DenoiserModel::DenoiserModel(comm::World& world, DenoiserNetworks networks, const DiffusionFitConfig& config, uint64_t seed)
    : config_(config),
      seed_(seed),
      device_(world.device()),
      networks_(moved(std::move(networks), device_)),
      encoder_(networks_.autoencoder, device_, config),
      parts_(networks_, config, seed),
      parallel_(world, *parts_),
      optimizer_(training::make_optimizer(parameters_to_train(*parts_), config.optimizer)),
      time_weights_(min_snr_weights(networks_.scheduler->alphas_cumprod(), networks_.scheduler->prediction(), config.min_snr_gamma).to(device_)) {
  if (config.ema > 0) ema_.emplace(*parts_, config.ema);
  if (parts_->with_text) return;
  const torch::NoGradGuard no_grad;
  frozen_texts_ = networks_.text_encoder->forward(networks_.tokens);
}

at::Tensor DenoiserModel::texts() { return parts_->with_text ? networks_.text_encoder->forward(networks_.tokens) : frozen_texts_; }

at::Tensor DenoiserModel::predict(const at::Tensor& noisy, const at::Tensor& times, const at::Tensor& prompts) {
  if (parts_->lora) parts_->lora->put_in();  // in float32, as merge() adds
  const bool bfloat16 = config_.precision == "bf16";
  const training::Autocast autocast(device_, bfloat16);
  const PlainAttention plain(bfloat16 && device_.is_cpu());
  return networks_.unet->forward(noisy, times, texts_of_images(networks_.unet->prepare(texts()), prompts));
}

at::Tensor DenoiserModel::step(int64_t step, const DenoiserBatch& batch) {
  training::set_learning_rate(*optimizer_, learning_rate(step));
  const EncodedViews views = encoder_.encode(batch);
  const at::Tensor noise = batch.noise.to(device_), times = batch.times.to(device_), prompts = batch.prompts.to(device_);
  at::Tensor input = networks_.scheduler->add_noise(views.latents, noise, times);
  if (views.condition.defined()) {
    const at::Tensor keeps = batch.keeps_condition.to(device_).view({-1, 1, 1, 1});
    const double deviation = 1 / networks_.autoencoder->config().scaling_factor;  // of latents that are not scaled
    input = at::cat({input, (views.condition + batch.condition_noise.to(device_) * deviation) * keeps}, 1);
  }
  parallel_.before_forward();
  const at::Tensor output = predict(input, times, prompts);
  const at::Tensor target = training_target(*networks_.scheduler, views.latents, noise, times);
  const at::Tensor share = weighted_error(output, target, time_weights_.index_select(0, times)) / static_cast<double>(config_.batch);
  parallel_.backward(share);
  optimizer_->step();
  if (ema_) ema_->update(*parts_);
  return share.detach().reshape({1});
}

void DenoiserModel::with_kept_weights(const std::function<void()>& work) {
  const torch::NoGradGuard no_grad;
  io::NamedTensors trained;
  const io::NamedTensors state = nn::state_of(*parts_);
  if (ema_) {
    for (const auto& [name, tensor] : state) trained.emplace(name, tensor.clone());
    for (const auto& [name, tensor] : state) tensor.copy_(ema_->average().at(name));
  }
  if (parts_->lora) parts_->lora->put_in();
  work();
  for (const auto& [name, tensor] : trained) state.at(name).copy_(tensor);
}

at::Tensor DenoiserModel::translate(const at::Tensor& images, int64_t domain) {
  at::Tensor translated;
  with_kept_weights([&] {
    const training::Autocast autocast(device_, config_.precision == "bf16");
    translated = translate_samples(networks_, encoder_, texts(), images, domain, config_, seed_);
  });
  return translated;
}

std::vector<fs::path> DenoiserModel::save(const fs::path& folder) {
  const c10::ScalarType dtype = dtype_named(config_.dtype);
  with_kept_weights([&] {
    if (parts_->lora) parts_->lora->merge();
    diffusion::save_unet(folder / "unet", networks_.unet, dtype);
    if (parts_->lora) parts_->lora->split();
    diffusion::save_text_encoder(folder / "text_encoder", networks_.text_encoder, dtype);
    diffusion::save_autoencoder(folder / "vae", networks_.autoencoder, dtype);
  });
  diffusion::save_model_index(folder, config_.layout == "instruct" ? "StableDiffusionInstructPix2PixPipeline" : "StableDiffusionPipeline");
  return {"unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors", "model_index.json"};
}

training::Checkpoint DenoiserModel::checkpoint(int64_t steps_done) const {
  training::Checkpoint checkpoint{.step = steps_done};
  training::put_prefix(checkpoint.tensors, nn::state_of(*parts_), "model.");
  training::put_prefix(checkpoint.tensors, training::optimizer_state(*optimizer_), "optimizer.");
  if (ema_) training::put_prefix(checkpoint.tensors, ema_->average(), "ema.");
  checkpoint.state["ema_updates"] = ema_ ? ema_->updates() : 0;
  return checkpoint;
}

void DenoiserModel::restore(const training::Checkpoint& checkpoint, const std::string& where) {
  const auto part = [&](const char* prefix) { return training::take_prefix(checkpoint.tensors, prefix); };
  nn::load_state(*parts_, part("model."), where);
  training::load_optimizer_state(*optimizer_, part("optimizer."), where);
  if (ema_) ema_->load(part("ema."), io::json_int(checkpoint.state, "ema_updates", where), where);
}

}  // namespace syncdr::fit
