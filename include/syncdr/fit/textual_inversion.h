#pragma once
#include <string>
#include <vector>

#include "syncdr/data/augment.h"
#include "syncdr/training/optimizer_config.h"
#include "syncdr/training/run.h"

namespace syncdr::fit {

/// Training of a token for each domain's look, or thing, that a text encoder has no word for. The defaults are for Stable Diffusion at 512 pixels.
struct TextualInversionConfig {
  std::string from, variant;
  std::vector<std::string> domains, tokens, initial;
  int64_t vectors = 1;
  std::string what = "style";
  std::vector<std::string> templates;
  int64_t steps = 3000;
  int64_t batch = 4;
  double min_snr_gamma = 0;
  double drop_condition = 0.1;
  std::vector<double> sigmas = {0.7, 1.8};
  double condition_noise = 0.15;
  training::OptimizerConfig optimizer{.name = "adamw", .learning_rate = 2e-3, .weight_decay = 0.01};
  std::string precision = "fp32";
  data::AugmentConfig augment{.resize = 512, .crop = 512};
  int64_t views = 0;
  std::string extra_split;
  int64_t log_every = 20;
  int64_t sample_every = 500;
  int64_t checkpoint_every = 500;

  void visit(core::Fields& field) {
    field(from, "from", "checkpoint folder in the diffusers layout that tokens are learned for; empty: translate.diffusion.checkpoint");
    field(variant, "variant", "its files' variant, as in unet/diffusion_pytorch_model.VARIANT.safetensors; empty: without");
    field(domains, "domains", "whose look is learned; empty: all of data.domains");
    field(tokens, "tokens", "what the token of each is called in texts, as in [\"<ink>\"]; empty: <DOMAIN>");
    field(initial, "initial", "what the token of each begins as: a word that is one token of the tokenizer, or as many as there are vectors");
    field(vectors, "vectors", "vectors of a token, each of which takes the place of an ordinary one in texts", core::between(1, 64));
    field(what, "what", "what a token stands for: chooses among the built-in templates", {"style", "object"});
    field(templates, "templates", "texts that images are learned under, with {} where the token stands; empty: the built-in ones");
    field(steps, "steps", "optimizer steps of each token", core::at_least(1));
    field(batch, "batch", "images in a global batch", core::at_least(1));
    field(min_snr_gamma, "min_snr_gamma", "gamma of min-SNR weights of the loss (5 in the paper); 0: all times alike", core::at_least(0));
    field(drop_condition, "drop_condition", "UNet that takes a structure map: probability that an image comes without it", core::between(0, 1));
    field(sigmas, "sigmas", "UNet that takes a structure map: least and largest blur of it in pixels", core::above(0));
    field(condition_noise, "condition_noise", "UNet that takes a structure map: largest noise added to its latents, as a share of the latents' deviation",
          core::at_least(0));
    field.group(optimizer, "optimizer", "how vectors follow gradients");
    field(precision, "precision", "arithmetic of the networks: bf16 uses autocast, about twice as fast where the processor has it", {"fp32", "bf16"});
    field.group(augment, "augment", "random changes of training images");
    field(views, "views", "random views of an image that are encoded once and kept in memory; 0: a new one each time", core::at_least(0));
    field(extra_split, "extra_split", "a further split of unlabelled images to train on, of any of the domains; empty: none");
    field(log_every, "log_every", "steps between log lines", core::at_least(1));
    field(sample_every, "sample_every", "steps between sample sheets; 0: at the end alone", core::at_least(0));
    field(checkpoint_every, "checkpoint_every", "steps between checkpoints", core::at_least(1));
  }
};

/// One of the tokens of a configuration.
struct TokenTask {
  std::string domain, name;
  std::string initial;  ///< the words that it begins as
};
/// The tokens that are learned, of these domains of the dataset. Throws UsageError: a domain that is none of them or named twice, lists that do not fit each
/// other, an empty name, one for two domains.
std::vector<TokenTask> tokens_of(const TextualInversionConfig& config, const std::vector<std::string>& domains);

/// The file that a token's training leaves in its folder, which diffusers' load_textual_inversion reads by the folder's name alone.
inline constexpr const char* learned_file = "learned_embeds.safetensors";

/// Textual inversion (Gal et al., ICLR 2023): for each of tokens_of the task's domains, one after the other, learns vectors of the token embedding with which a
/// frozen latent diffusion model predicts the noise of the domain's training images best, under texts that hold the token. By training::run, data-parallel, in
/// a folder of the task's of the domain's name. Leaves learned_embeds.safetensors there: the vectors [n, D] float32, under the token's name.
///
/// A UNet with input channels for an image beside the noise gets the training image's structure map there, as the translator structure gives it.
///
/// The log has loss, the weighted mean squared error. R ranks train what one rank trains, within float rounding: all random numbers of an image are a function
/// of the seed, the step and its position in the global batch. Sample sheets show images of the other domains (of its own where there are none) beside their
/// translation under the first template.
///
/// Throws as training::run, and what check_textual_inversion throws; DataError on a broken checkpoint.
void fit_textual_inversion(const training::Task& task, const TextualInversionConfig& config);

/// Throws what such a training would be refused for, as check_cut does: UsageError on settings that do not fit each other or the checkpoint (a name that is a
/// token already, a beginning of another number of tokens, templates without room for the token), DataError on a checkpoint that is broken, as far as that
/// shows without reading its networks.
void check_textual_inversion(const training::Task& task, const TextualInversionConfig& config);

}  // namespace syncdr::fit
