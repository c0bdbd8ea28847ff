#pragma once
#include <functional>
#include <optional>

#include "denoiser_networks.h"
#include "lora.h"
#include "syncdr/training/checkpoint.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/ema.h"
#include "syncdr/training/optimizer.h"
#include "view_encoder.h"

namespace syncdr::fit {

/// What of the networks is trained, as one module.
struct TrainedPartsImpl : torch::nn::Module {
  /// A whole UNet (and the text encoder where it is given), or low-rank additions to it (and its input convolution where that has new channels).
  TrainedPartsImpl(DenoiserNetworks& networks, const DiffusionFitConfig& config, uint64_t seed);
  std::shared_ptr<Lora> lora;  // may be null
  bool with_text = false;
};
TORCH_MODULE(TrainedParts);

/// A diffusion translator with its optimizer, on every rank alike, and its training step.
class DenoiserModel {
 public:
  DenoiserModel(comm::World& world, DenoiserNetworks networks, const DiffusionFitConfig& config, uint64_t seed);

  /// Returns this rank's share of the loss, [1]; over all ranks they sum to the mean over the global batch.
  at::Tensor step(int64_t step, const DenoiserBatch& batch);
  double learning_rate(int64_t step) const { return training::learning_rate_at(config_.optimizer, step, config_.steps); }
  /// Whether the view's pixels are not needed any more. From any thread.
  bool has(const ImageView& view) const { return encoder_.has(view); }

  /// [n, 3, S, S] uint8 on the CPU -> the same, in the look of a domain (0 or 1), by the weights that would be kept now.
  at::Tensor translate(const at::Tensor& images, int64_t domain);
  /// The components unet, text_encoder and vae of a checkpoint folder, and its index. Returns the files relative to it.
  std::vector<std::filesystem::path> save(const std::filesystem::path& folder);

  training::Checkpoint checkpoint(int64_t steps_done) const;
  void restore(const training::Checkpoint& checkpoint, const std::string& where);

 private:
  /// The prompts' hidden states, [3, L, D].
  at::Tensor texts();
  at::Tensor predict(const at::Tensor& noisy, const at::Tensor& times, const at::Tensor& prompts);
  /// Runs work while the networks hold the moving average, if there is one, with low-rank additions put in.
  void with_kept_weights(const std::function<void()>& work);

  DiffusionFitConfig config_;
  uint64_t seed_;
  c10::Device device_;
  DenoiserNetworks networks_;
  ViewEncoder encoder_;
  TrainedParts parts_;
  training::DataParallel parallel_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::optional<training::Ema> ema_;
  at::Tensor time_weights_;  // [T]
  at::Tensor frozen_texts_;  // [3, L, D] of a text encoder that is not trained
};

}  // namespace syncdr::fit
