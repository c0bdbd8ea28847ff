#pragma once
#include <string>
#include <vector>

#include "syncdr/fit/autoencoder.h"
#include "syncdr/training/optimizer_config.h"

namespace syncdr::fit {

/// The UNet of a model that is trained from scratch. Levels are counted from the finest to the coarsest.
struct DenoiserUNetConfig {
  std::vector<int64_t> channels = {64, 96, 128};
  int64_t layers = 1;
  int64_t plain_levels = 1;
  int64_t head_width = 32;
  int64_t norm_groups = 8;

  void visit(core::Fields& field) {
    field(channels, "channels", "channels of each level, multiples of norm_groups and head_width", core::between(1, 8192));
    field(layers, "layers", "residual blocks of a level on the way down; one more on the way up", core::between(1, 16));
    field(plain_levels, "plain_levels", "levels, from the finest, that have no attention: it reads the text, and costs most where there are many pixels",
          core::between(0, 16));
    field(head_width, "head_width", "channels of an attention head", core::between(1, 1024));
    field(norm_groups, "norm_groups", "groups of the norms; on CPUs groups of less than 8 channels are slow", core::between(1, 1024));
  }
};

/// The text encoder of a model that is trained from scratch.
struct DenoiserTextConfig {
  int64_t width = 128;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t length = 48;

  void visit(core::Fields& field) {
    field(width, "width", "values of a token, a multiple of heads", core::between(1, 4096));
    field(layers, "layers", "transformer layers", core::between(1, 48));
    field(heads, "heads", "attention heads", core::between(1, 256));
    field(length, "length", "tokens of a text: its bytes without spaces, start and end", core::between(4, 1024));
  }
};

/// Training of one diffusion translator between all domains.
struct DiffusionFitConfig {
  std::string from, variant;
  std::vector<std::string> prompts;
  std::string layout = "instruct";
  int64_t steps = 1600;
  int64_t batch = 32;
  int64_t lora_rank = 0;
  DenoiserUNetConfig unet;
  DenoiserTextConfig text;
  AutoencoderFitConfig autoencoder;
  std::string prediction = "v_prediction";
  bool zero_terminal_snr = true;
  double min_snr_gamma = 0;
  double drop_prompt = 0.1;
  double drop_condition = 0.1;
  std::vector<double> sigmas = {0.7, 1.8};
  double condition_noise = 0.15;
  training::OptimizerConfig optimizer{
      .name = "adamw", .learning_rate = 1e-3, .betas = {0.9, 0.99}, .weight_decay = 0.01, .schedule = "one_cycle", .warmup = 0.1};
  double ema = 0.998;
  std::string precision = "fp32";
  data::AugmentConfig augment{.resize = 64, .crop = 64};
  int64_t views = 0;
  std::string extra_split;
  std::string dtype = "fp16";
  int64_t log_every = 20;
  int64_t sample_every = 500;
  int64_t checkpoint_every = 500;

  void visit(core::Fields& field) {
    field(from, "from", "checkpoint folder in the diffusers layout to go on from; empty: a model from scratch");
    field(variant, "variant", "its files' variant, as in unet/diffusion_pytorch_model.VARIANT.safetensors; empty: without");
    field(prompts, "prompts", "what images of each domain are, in the order of data.domains, as in [\"a photo\", \"a sketch\"]");
    field(layout, "layout", "instruct: keeps the structure map of an image, which it sees beside the text; text: plain Stable Diffusion", {"instruct", "text"});
    field(steps, "steps", "optimizer steps of the denoiser", core::at_least(1));
    field(batch, "batch", "images in a global batch, equally many of each domain", core::at_least(2));
    field(lora_rank, "lora_rank", "train additions of this rank to a checkpoint's attention projections; 0: all its weights", core::between(0, 1024));
    field.group(unet, "unet", "from scratch: the denoising network");
    field.group(text, "text", "from scratch: the text encoder");
    field.group(autoencoder, "autoencoder", "from scratch: the first stage");
    field(prediction, "prediction", "from scratch: what the network says", {"v_prediction", "epsilon"});
    field(zero_terminal_snr, "zero_terminal_snr", "from scratch: the last training time is pure noise, as sampling begins with");
    field(min_snr_gamma, "min_snr_gamma", "gamma of min-SNR weights of the loss (5 in the paper); 0: all times alike", core::at_least(0));
    field(drop_prompt, "drop_prompt", "probability that an image comes without its prompt, for guidance", core::between(0, 1));
    field(drop_condition, "drop_condition", "instruct: probability that an image comes without its structure map", core::between(0, 1));
    field(sigmas, "sigmas", "instruct: least and largest blur of structure maps in pixels", core::above(0));
    field(condition_noise, "condition_noise", "instruct: largest noise added to the map's latents, as a share of the latents' deviation", core::at_least(0));
    field.group(optimizer, "optimizer", "how weights follow gradients");
    field(ema, "ema", "decay of the weights' moving average, which is then what is kept; 0: none", core::between(0, 1));
    field(precision, "precision", "arithmetic of the networks: bf16 uses autocast, about twice as fast where the processor has it", {"fp32", "bf16"});
    field.group(augment, "augment", "random changes of training images");
    field(views, "views", "random views of an image that are encoded once and kept in memory; 0: a new one each time", core::at_least(0));
    field(extra_split, "extra_split", "a further split of unlabelled images to train on, of any of the domains; empty: none");
    field(dtype, "dtype", "numbers of the written weights", {"fp16", "bf16", "fp32"});
    field(log_every, "log_every", "steps between log lines", core::at_least(1));
    field(sample_every, "sample_every", "steps between sample sheets; 0: at the end alone", core::at_least(0));
    field(checkpoint_every, "checkpoint_every", "steps between checkpoints", core::at_least(1));
  }
};

/// Trains one latent diffusion model (Rombach et al., CVPR 2022) on the domains' unpaired training images by training::run, data-parallel. Leaves
/// checkpoint/, a folder in the diffusers layout; from scratch also autoencoder/, the first stage's own run.
///
/// Layout "instruct" is InstructPix2Pix's UNet (Brooks et al., CVPR 2023), whose image condition here is the structure map of the image that is to be
/// predicted: structure(x) and the domain's own prompt -> x. Given the structure of an image of one domain and the other's prompt it translates. Layout
/// "text" sees the prompt alone, for img2img and ddib.
///
/// From scratch, a small CLIP text encoder that reads bytes is trained with the UNet. A checkpoint that is gone on from keeps its text encoder and
/// autoencoder; its UNet is trained as a whole or through low-rank additions (LoRA), which are added to the weights that are written, and stand beside
/// checkpoint/ alone, as pytorch_lora_weights.safetensors. A plain UNet gets the condition's input channels with weights 0 where the layout needs them; then
/// there is no such file, since they are more than the additions.
///
/// The log has loss, the weighted mean squared error. R ranks train what one rank trains, within float rounding: all random numbers of an image are a
/// function of the seed, the step and its position in the global batch.
///
/// Throws as training::run; UsageError if settings do not fit each other; DataError on a broken checkpoint.
void fit_diffusion(const training::Task& task, const DiffusionFitConfig& config);

/// Throws what such a training would be refused for, as check_cut does, and DataError on a checkpoint to go on from that is broken, as far as that shows
/// without reading its networks.
void check_diffusion(const training::Task& task, const DiffusionFitConfig& config);

}  // namespace syncdr::fit
