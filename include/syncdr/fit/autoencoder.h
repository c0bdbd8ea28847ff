#pragma once
#include <string>
#include <vector>

#include "syncdr/data/augment.h"
#include "syncdr/training/optimizer_config.h"
#include "syncdr/training/run.h"

namespace syncdr::fit {

/// How a reconstruction is compared with its image: all terms are means over values in [-1, 1]. Absolute errors alone lose hue and thin lines: most of
/// a drawing is flat and grey, and whatever is rare is cheapest left out.
struct ReconstructionConfig {
  std::string pixel = "l1";
  double pixel_weight = 1;
  double chroma_weight = 2;
  double saturation_weight = 4;
  double gradient_weight = 1;
  double kl_weight = 1e-3;

  void visit(core::Fields& field) {
    field(pixel, "pixel", "error of a pixel's channel: absolute, squared, or Huber's (squared below 0.1, then absolute)", {"l1", "l2", "huber"});
    field(pixel_weight, "pixel_weight", "weight of the pixels' error", core::at_least(0));
    field(chroma_weight, "chroma_weight", "weight of the squared error of colour differences (Cb, Cr)", core::at_least(0));
    field(saturation_weight, "saturation_weight", "how much more a fully saturated pixel's colour counts than a grey one's", core::at_least(0));
    field(gradient_weight, "gradient_weight", "weight of the absolute error of differences between neighbours: edges, thin lines", core::at_least(0));
    field(kl_weight, "kl_weight", "weight of the latents' divergence from a standard normal, a value's mean; 0: no noise in training", core::at_least(0));
  }
};

/// Training of an autoencoder from scratch. The defaults are for small pictures (64 pixels, a thousand images). Pieces of pictures (crop below resize)
/// teach more than whole ones at the same cost: the network sees nothing but neighbourhoods, and flat background is most of a picture.
struct AutoencoderFitConfig {
  int64_t steps = 1600;
  int64_t batch = 16;
  std::vector<int64_t> channels = {16, 32, 64};
  int64_t latent_channels = 8;
  int64_t layers = 1;
  int64_t norm_groups = 1;
  bool attention = false;
  ReconstructionConfig loss;
  training::OptimizerConfig optimizer{.name = "adamw", .learning_rate = 2e-3, .betas = {0.9, 0.99}, .weight_decay = 0, .schedule = "one_cycle", .warmup = 0.1};
  double ema = 0.99;
  std::string precision = "fp32";
  std::string extra_split;
  int64_t scale_images = 512;
  data::AugmentConfig augment{.resize = 64, .crop = 32, .rotation = 8, .scale = 0.1, .shift = 0.06};
  int64_t log_every = 20;
  int64_t sample_every = 500;
  int64_t checkpoint_every = 500;

  void visit(core::Fields& field) {
    field(steps, "steps", "optimizer steps", core::at_least(1));
    field(batch, "batch", "images of each domain in a global batch", core::at_least(1));
    field(channels, "channels", "channels of each level, from the finest; each level but the last halves the sides", core::between(1, 8192));
    field(latent_channels, "latent_channels", "channels of the latents", core::between(1, 64));
    field(layers, "layers", "residual blocks of a level of the encoder; the decoder has one more", core::between(1, 8));
    field(norm_groups, "norm_groups", "groups of the norms; divides each level's channels. CPUs train fast with multiples of 16 channels a group",
          core::between(1, 8192));
    field(attention, "attention", "attention between the coarsest level's pixels");
    field.group(loss, "loss", "how a reconstruction is compared with its image");
    field(optimizer.learning_rate, "learning_rate", "AdamW's largest rate", core::above(0));
    field(optimizer.betas, "betas", "decay of AdamW's two averages", core::between(0, 1));
    field(optimizer.weight_decay, "weight_decay", "decoupled weight decay", core::at_least(0));
    field(optimizer.schedule, "schedule", "learning rate over the run", {"constant", "cosine", "one_cycle", "linear"});
    field(optimizer.warmup, "warmup", "one_cycle: share of the steps with a rising rate", core::between(0, 1));
    field(ema, "ema", "decay of the moving average, which is then what is kept; 0: none", core::between(0, 1));
    field(precision, "precision", "arithmetic of the network: bf16 uses autocast", {"fp32", "bf16"});
    field(extra_split, "extra_split", "a further split of unlabelled images to train on, of any of the domains; empty: none");
    field(scale_images, "scale_images", "images of each domain whose latents' standard deviation is measured for the scaling factor", core::at_least(1));
    field.group(augment, "augment", "random changes of training images; the scaling factor and samples are of whole pictures, whatever the crop");
    field(log_every, "log_every", "steps between log lines", core::at_least(1));
    field(sample_every, "sample_every", "steps between sample sheets; 0: at the end alone", core::at_least(0));
    field(checkpoint_every, "checkpoint_every", "steps between checkpoints", core::at_least(1));
  }
};

/// Trains an AutoencoderKL (Rombach et al., CVPR 2022, without a discriminator) on all domains' training images by training::run, data-parallel. Leaves
/// config.json and diffusion_pytorch_model.safetensors, as diffusers and diffusion::load_autoencoder read them, with the scaling factor that gives
/// training images' latents a standard deviation of 1; samples are images beside their reconstructions. The log has loss_pixel, loss_chroma,
/// loss_gradient, loss_kl, unweighted; images are counted of all domains. R ranks train what one rank trains, within float rounding.
///
/// Throws as training::run, and UsageError on values that do not fit each other, naming keys as fit.diffusion.autoencoder.*.
void fit_autoencoder(const training::Task& task, const AutoencoderFitConfig& config);

/// Throws what such a training would be refused for, as check_cut does.
void check_autoencoder(const training::Task& task, const AutoencoderFitConfig& config);

}  // namespace syncdr::fit
