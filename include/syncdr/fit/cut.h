#pragma once
#include "syncdr/data/augment.h"
#include "syncdr/gan/cut_config.h"
#include "syncdr/training/optimizer_config.h"
#include "syncdr/training/run.h"

namespace syncdr::fit {

/// Training of one CUT generator. The defaults are the paper's for 256-pixel photographs.
struct CutConfig {
  int64_t steps = 5000;
  int64_t batch = 4;
  gan::GeneratorConfig generator;
  gan::DiscriminatorConfig discriminator;
  double learning_rate = 2e-4;
  double discriminator_learning_rate = 2e-4;
  std::vector<double> betas = {0.5, 0.999};
  std::string schedule = "linear";
  double gan_weight = 1;
  double nce_weight = 1;
  bool identity_nce = true;
  int64_t patches = 256;
  double temperature = 0.07;
  double ema = 0;
  std::string precision = "fp32";
  data::AugmentConfig augment{.resize = 286, .crop = 256};
  int64_t log_every = 20;
  int64_t sample_every = 500;
  int64_t checkpoint_every = 500;

  void visit(core::Fields& field) {
    field(steps, "steps", "optimizer steps of each direction", core::at_least(1));
    field(batch, "batch", "images of each domain in a global batch", core::at_least(1));
    field.group(generator, "generator", "the translating network");
    field.group(discriminator, "discriminator", "the judging network");
    field(learning_rate, "learning_rate", "Adam's rate for generator and patch heads", core::above(0));
    field(discriminator_learning_rate, "discriminator_learning_rate", "Adam's rate for the discriminator", core::above(0));
    field(betas, "betas", "decay of Adam's two averages", core::between(0, 1));
    field(schedule, "schedule", "learning rate over the run", {"constant", "cosine", "one_cycle", "linear"});
    field(gan_weight, "gan_weight", "weight of the adversarial loss", core::at_least(0));
    field(nce_weight, "nce_weight", "weight of PatchNCE", core::at_least(0));
    field(identity_nce, "identity_nce", "also compare target images with their own translation");
    field(patches, "patches", "patches per image that PatchNCE compares", core::at_least(2));
    field(temperature, "temperature", "softmax temperature of PatchNCE", core::above(0));
    field(ema, "ema", "decay of the generator's moving average, which is then what is kept; 0: none", core::between(0, 1));
    field(precision, "precision", "arithmetic of the networks: bf16 uses autocast, about twice as fast where the processor has it", {"fp32", "bf16"});
    field.group(augment, "augment", "random changes of training images");
    field(log_every, "log_every", "steps between log lines", core::at_least(1));
    field(sample_every, "sample_every", "steps between sample sheets; 0: at the end alone", core::at_least(0));
    field(checkpoint_every, "checkpoint_every", "steps between checkpoints", core::at_least(1));
  }
};

/// Trains the task's first domain -> its second on their training images by training::run, data-parallel. Leaves generator.safetensors (its "generator"
/// metadata: the GeneratorConfig as TOML). The log has loss_discriminator, loss_gan, loss_nce, unweighted; images are counted of the source domain. R ranks
/// train what one rank trains, within float rounding.
///
/// Throws as training::run, and what check_cut throws.
void fit_cut(const training::Task& task, const CutConfig& config);

/// Throws what such a training would be refused for, before hours go into what comes before it: UsageError on settings that do not fit each other, the ranks or
/// the number of images, or that would learn nothing, DataError where a domain has no training images. All ranks call it.
void check_cut(const training::Task& task, const CutConfig& config);

}  // namespace syncdr::fit
