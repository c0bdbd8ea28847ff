#pragma once
#include <optional>

#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/fit/autoencoder.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/ema.h"
#include "syncdr/training/optimizer.h"
#include "unpaired_data.h"

namespace syncdr::fit {

/// An autoencoder in training: network, optimizer and images of both domains, on every rank alike.
class AutoencoderFit : public training::Learner {
 public:
  AutoencoderFit(const training::Task& task, const AutoencoderFitConfig& config);

  std::vector<std::string> loss_names() const override { return {"loss_pixel", "loss_chroma", "loss_gradient", "loss_kl"}; }
  void begin(int64_t first, int64_t last) override;
  at::Tensor step(int64_t step) override;
  double learning_rate(int64_t step) const override { return training::learning_rate_at(optimizer_settings_, step, config_.steps); }
  training::Checkpoint checkpoint(int64_t steps_done) const override;
  void restore(const training::Checkpoint& checkpoint, const std::string& where) override;
  void save_samples(const std::filesystem::path& png) override;
  std::vector<std::filesystem::path> save(const std::filesystem::path& folder) override;
  std::string advice() const override;

 private:
  struct Output {
    diffusion::LatentDistribution latents;
    at::Tensor images;
  };
  Output forward(const at::Tensor& images, int64_t step);
  /// Of this rank's latents in one step, whatever the number of ranks.
  at::Tensor noise_like(const at::Tensor& latents, int64_t step) const;
  /// The trained network, or its moving average where there is one.
  diffusion::Autoencoder kept(double scaling_factor) const;
  /// 1 / standard deviation of the latents of evenly spaced training images.
  double measure_scaling_factor(diffusion::Autoencoder& autoencoder) const;

  AutoencoderFitConfig config_;
  uint64_t seed_;
  c10::Device device_;
  training::Part part_;
  data::ShardList source_, target_;
  UnpairedBatches batches_;
  diffusion::Autoencoder autoencoder_;
  training::OptimizerConfig optimizer_settings_;
  training::DataParallel parallel_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::optional<training::Ema> ema_;
  std::optional<data::Prefetcher<UnpairedBatch>> ahead_;  // last: its threads use the batches
};

}  // namespace syncdr::fit
