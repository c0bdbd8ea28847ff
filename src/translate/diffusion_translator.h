#pragma once
#include <mutex>
#include <unordered_map>

#include "syncdr/diffusion/pipeline.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

/// What check_NAME of these translators begins with: the sampler, of whose steps (below a share of the times) a share is taken, and if a checkpoint is named,
/// that it is there and can make images of the size. Returns how many channels of an image its UNet takes beside the noise; empty: no checkpoint is named.
std::optional<int64_t> check_diffusion(const TranslateConfig& config, double share = 1, double below = 1);
/// Throws UsageError unless translate.structure.sigma is a range.
void check_sigma(const TranslateConfig& config);
/// For translators that show the network no image: throws UsageError if it takes one.
void refuse_condition(const TranslateConfig& config, std::optional<int64_t> condition_channels);

/// What the translators share that sample from a diffusion model: the model, texts encoded once, noise by request, provenance.
class DiffusionTranslator : public Translator {
 public:
  /// share: of the sampler's steps that are taken. below: the share of the training's times that all are spread over. Throws DataError if the checkpoint is
  /// missing or does not fit.
  DiffusionTranslator(const TranslateConfig& config, c10::Device device, double share = 1, double below = 1);
  int64_t batch() const override { return config_.batch; }
  int64_t size() const override { return config_.size; }
  bool is_random() const override { return row_.random; }
  std::optional<diffusion::PromptKind> prompt_kind() const override { return row_.prompt; }
  std::string cut_from(const std::string& text) const override { return model_.cut_from(text); }
  Translated translate(const at::Tensor& images, std::span<const Request> requests) override;
  std::map<std::string, std::string> provenance() const override;

 protected:
  /// The translation of images [k, 3 or, with masks, 4, S, S] in [-1, 1], on the device. Called from several threads.
  virtual at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) = 0;
  /// Settings of the one translator.
  virtual std::map<std::string, std::string> own_settings() const = 0;

  const TranslateConfig& config() const { return config_; }
  diffusion::StableDiffusion& model() { return model_; }
  const diffusion::StableDiffusion& model() const { return model_; }
  /// Planned for the configured number of steps, for the use of one thread.
  std::unique_ptr<diffusion::Scheduler> make_scheduler() const { return make_scheduler(config_.diffusion.scheduler, config_.diffusion.eta); }
  std::unique_ptr<diffusion::Scheduler> make_scheduler(const std::string& name, double eta) const;
  /// The requests' texts; one for all where they are equal.
  diffusion::TextContext texts_of(std::span<const Request> requests);
  diffusion::TextContext encoded(const std::string& text);
  diffusion::TextContext negative() { return encoded(config_.diffusion.negative_prompt); }
  /// Towards a text, away from negative().
  std::vector<diffusion::Branch> guidance(const diffusion::TextContext& text, double scale);
  /// What a UNet that takes an image beside the noise sees of images [k, 3, S, S]: latents of their structure maps, blurred as each request says.
  at::Tensor structure_condition(const at::Tensor& images, std::span<const Request> requests);
  diffusion::PipelineNoise noise_for(std::span<const Request> requests) const;

 private:
  at::Tensor draw(std::span<const Request> requests, uint32_t step) const;

  TranslateConfig config_;
  double below_;
  const TranslatorRow& row_;
  diffusion::StableDiffusion model_;
  std::string hash_, configuration_hash_, lora_, tokens_;
  std::mutex mutex_;
  std::unordered_map<std::string, diffusion::TextContext> encoded_;
};

}  // namespace syncdr::translate
