#pragma once
#include <string>
#include <vector>

#include "syncdr/data/augment.h"
#include "syncdr/training/optimizer_config.h"
#include "syncdr/training/run.h"

namespace syncdr::fit {

/// Training of ELITE's global mapper. The defaults are for Stable Diffusion at 512 pixels with CLIP ViT-L/14.
struct EliteMapperConfig {
  std::string from, variant, image_encoder;
  std::vector<std::string> prompts;
  std::vector<int64_t> states = {-1, 4, 8, 12, 16};
  int64_t hidden = 1024;
  int64_t steps = 20000;
  int64_t batch = 4;
  double word_penalty = 0.01;
  double drop_prompt = 0;
  double drop_condition = 0.1;
  std::vector<double> sigmas = {0.7, 1.8};
  double condition_noise = 0.15;
  double min_snr_gamma = 0;
  training::OptimizerConfig optimizer{.name = "adamw", .learning_rate = 1e-4, .weight_decay = 0.01};
  std::string precision = "fp32";
  data::AugmentConfig augment{.resize = 512, .crop = 512};
  std::string extra_split;
  int64_t log_every = 20;
  int64_t sample_every = 1000;
  int64_t checkpoint_every = 500;

  void visit(core::Fields& field) {
    field(from, "from", "checkpoint folder in the diffusers layout that the mapper is for; empty: translate.diffusion.checkpoint");
    field(variant, "variant", "its files' variant, as in unet/diffusion_pytorch_model.VARIANT.safetensors; empty: without");
    field(image_encoder, "image_encoder", "folder of a CLIPVisionModel or CLIPModel; empty: translate.elite.image_encoder, or image_encoder in the checkpoint");
    field(prompts, "prompts",
          "a text with the word S for each domain's images, in the order of data.domains; empty: built-in ones, of which each image gets any");
    field(states, "states", "which hidden state of the image encoder each of the five words is made of; -1: the last", core::between(-1, 1024));
    field(hidden, "hidden", "width of the mapping networks", core::between(1, 65536));
    field(steps, "steps", "optimizer steps", core::at_least(1));
    field(batch, "batch", "images in a global batch, equally many of each domain", core::at_least(2));
    field(word_penalty, "word_penalty", "weight in the loss of the words' mean magnitude", core::at_least(0));
    field(drop_prompt, "drop_prompt", "probability that an image comes without its text, for guidance", core::between(0, 1));
    field(drop_condition, "drop_condition", "UNet that takes a structure map: probability that an image comes without it; 1: it never sees one",
          core::between(0, 1));
    field(sigmas, "sigmas", "UNet that takes a structure map: least and largest blur of it in pixels", core::above(0));
    field(condition_noise, "condition_noise", "UNet that takes a structure map: largest noise added to its latents, as a share of the latents' deviation",
          core::at_least(0));
    field(min_snr_gamma, "min_snr_gamma", "gamma of min-SNR weights of the loss (5 in the paper); 0: all times alike", core::at_least(0));
    field.group(optimizer, "optimizer", "how the mapper follows gradients");
    field(precision, "precision", "arithmetic of UNet and text encoder: bf16 uses autocast, about twice as fast where the processor has it", {"fp32", "bf16"});
    field.group(augment, "augment", "random changes of training images");
    field(extra_split, "extra_split", "a further split of unlabelled images to train on, of any of the domains; empty: none");
    field(log_every, "log_every", "steps between log lines", core::at_least(1));
    field(sample_every, "sample_every", "steps between sample sheets; 0: at the end alone", core::at_least(0));
    field(checkpoint_every, "checkpoint_every", "steps between checkpoints", core::at_least(1));
  }
};

/// The file that such a training leaves in its folder, which the translator elite reads.
inline constexpr const char* mapper_file = "mapper.safetensors";

/// Trains ELITE's global mapper (Wei et al., ICCV 2023) for a checkpoint on the domains' training images by training::run, data-parallel: its mapping networks,
/// and its projections of texts, which begin as the UNet's own. Checkpoint and image encoder stay as they are. An image's five words take the place of S in a
/// text, under which the UNet is to predict the noise in the very image: mean squared error, plus word_penalty times the words' mean magnitude.
///
/// A UNet that takes an image beside the noise sees the training image's structure map, as the translator elite shows it one; with drop_condition = 1 it sees
/// none (translate.elite.structure = false). Published training cuts images to boxes around objects; here they are the dataset's.
///
/// The log has loss, the mean squared error, and word_magnitude. R ranks train what one rank trains, within float rounding: all random numbers of an image
/// are a function of the seed, the step and its position in the global batch. Sample sheets show images beside what the first word alone, under the next
/// domain's text, makes of them (20 DDIM steps from noise, guidance 5).
///
/// Throws as training::run, and what check_elite_mapper throws; DataError on a broken checkpoint or image encoder.
void fit_elite_mapper(const training::Task& task, const EliteMapperConfig& config);

/// Throws what such a training would be refused for, as check_cut does: UsageError on settings that do not fit each other, the checkpoint or the image encoder;
/// DataError on files that are broken, as far as that shows without reading networks.
void check_elite_mapper(const training::Task& task, const EliteMapperConfig& config);

}  // namespace syncdr::fit
