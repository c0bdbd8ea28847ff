#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

#include "syncdr/fit/diffusion.h"
#include "unpaired_data.h"

/// What the denoiser is trained on: images of all domains, and all that is drawn for them.
namespace syncdr::fit {

/// Names one random view of one image; a number of its own for each.
struct ImageView {
  int64_t domain = 0, entry = 0, view = 0;
  int64_t id() const { return view << 41 | entry << 8 | domain; }
};

/// This rank's b images of one step, domain after domain. A function of the step and the seed: an image's draws depend
/// on its position in the global batch, its view and the blur of its structure map on the image and how often the step's epoch has shown it.
struct DenoiserBatch {
  std::vector<ImageView> views;  ///< b
  std::vector<int64_t> loaded;   ///< the images whose pixels came along: all but those that were known to be encoded already
  at::Tensor images;             ///< of those, [n, 3, S, S] uint8; undefined if there are none
  at::Tensor sigmas;             ///< of those, [n] float32: blur of the structure map in pixels
  at::Tensor prompts;            ///< [b] int64: number of one of the domain's texts or, behind those of all domains, the one that stands for no prompt
  at::Tensor keeps_condition;    ///< [b] float32: 0 or 1
  at::Tensor times;              ///< [b] int64, uniform in [0, train_steps)
  at::Tensor noise;              ///< [b, C, h, w] float32, standard normal
  at::Tensor condition_noise;    ///< [b, C, h, w] float32, of a deviation up to condition_noise; undefined without a condition
};

/// What a training of a denoiser, or of something before it, is told: by the settings of whichever fit it is, and the model that it is of.
struct DenoiserOptions {
  UnpairedOptions images;  ///< that it reads; equally many of each domain
  int64_t domains = 1;
  int64_t texts = 1;       ///< of each domain, of which an image gets any
  bool condition = false;  ///< whether the UNet sees the image's structure map beside the noise (layout "instruct")
  double drop_prompt = 0;
  double drop_condition = 0;
  std::vector<double> sigmas = {0.7, 1.8};
  double condition_noise = 0;
  double min_snr_gamma = 0;
  int64_t views = 0;
  bool bfloat16 = false;

  /// Images in a global batch.
  int64_t batch() const { return images.batch * domains; }
};
DenoiserOptions options_of(const DiffusionFitConfig& config, int64_t domains);

/// What the draws need to know of the model.
struct DenoiserShape {
  std::vector<int64_t> latent;  ///< C, h, w
  int64_t train_steps = 1000;
};

class DenoiserBatches {
 public:
  /// part: this rank's of the global batch. encoded: whether an image's pixels are not needed any more; asked by the threads that load.
  DenoiserBatches(const data::Dataset& dataset, const std::vector<std::string>& domains, const DenoiserOptions& options, uint64_t seed, training::Part part,
                  DenoiserShape shape, std::function<bool(const ImageView&)> encoded);
  /// May be called from several threads.
  DenoiserBatch load(int64_t step) const;

 private:
  int64_t domains() const { return std::ssize(streams_); }
  std::vector<int64_t> positions_of(int64_t domain) const;
  void add_domain(DenoiserBatch& batch, int64_t domain, int64_t step, std::vector<at::Tensor>& images) const;
  void draw(DenoiserBatch& batch, int64_t step) const;

  DenoiserOptions options_;
  uint64_t seed_;
  training::Part part_;
  DenoiserShape shape_;
  std::function<bool(const ImageView&)> encoded_;
  std::vector<ImageStream> streams_;  // of the domains
};

}  // namespace syncdr::fit
