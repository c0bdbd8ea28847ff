#pragma once
#include <functional>
#include <optional>

#include "denoiser_networks.h"
#include "syncdr/data/loader.h"
#include "syncdr/diffusion/sampling.h"
#include "syncdr/diffusion/text_context.h"
#include "syncdr/training/autocast.h"
#include "syncdr/training/run.h"
#include "view_encoder.h"

/// What all trainings with the noise loss of a latent diffusion model share: its batches, the loss under given texts, and samples for a person to look at.
/// Which texts there are, and what is trained, is the fit's own.
namespace syncdr::fit {

class DenoiserStep {
 public:
  /// Trains on images of these domains. Moves the networks to the world's device.
  DenoiserStep(const training::Task& task, const std::vector<std::string>& domains, DenoiserNetworks networks, const DenoiserOptions& options);

  DenoiserNetworks& networks() { return networks_; }
  const DenoiserOptions& options() const { return options_; }
  c10::Device device() const { return device_; }

  /// As Learner's: next() gives this rank's part of the batches of these steps, in order.
  void begin(int64_t first, int64_t last);
  DenoiserBatch next() { return ahead_->next(); }

  /// The text of each image of a batch, or one for all.
  using TextsOf = std::function<diffusion::TextContext(const DenoiserBatch& batch)>;
  /// This rank's share of the loss of the global batch: the weighted mean squared error of what the UNet says of noised images, with gradients to whatever
  /// is trained. texts is called within the options' arithmetic.
  at::Tensor loss_share(const DenoiserBatch& batch, const TextsOf& texts);

  /// While it lives, networks compute in the options' arithmetic.
  training::Autocast arithmetic() const { return {device_, options_.bfloat16}; }
  /// Quick translations of images [n, 3, S, S] uint8 towards a text (of each, or one for all) and away from another, the same on the CPU: from the structure
  /// map where there is a condition (10 DDIM steps, guidance 2, image guidance 1), else through img2img (strength 0.6 of 20 steps, guidance 4). On any rank.
  at::Tensor sample(const at::Tensor& images, const diffusion::TextContext& text, const diffusion::TextContext& none);
  /// Images [n, 3, S, S] uint8 from noise along these branches, on the CPU, by as many DDIM steps. A network that takes an image beside the noise sees the
  /// structure maps of these, as many uint8, or none where training drops all.
  at::Tensor paint(std::vector<diffusion::Branch> branches, const at::Tensor& images, int64_t steps);

 private:
  /// Latents of structure maps of images [n, 3, S, S] uint8, of a blur in the middle of training's.
  at::Tensor condition_of(const at::Tensor& images);
  at::Tensor noised_input(const DenoiserBatch& batch, const EncodedViews& views, const at::Tensor& noise, const at::Tensor& times);

  DenoiserOptions options_;
  uint64_t seed_;
  int64_t threads_;
  c10::Device device_;
  DenoiserNetworks networks_;
  DenoiserShape shape_;
  ViewEncoder encoder_;
  at::Tensor time_weights_;  // [T]
  DenoiserBatches batches_;
  std::optional<data::Prefetcher<DenoiserBatch>> ahead_;  // last: its threads use the others
};

/// Each image's text, out of few that are prepared once: rows [b] int64 of them.
diffusion::TextContext texts_of_images(diffusion::TextContext texts, const at::Tensor& rows);

}  // namespace syncdr::fit
