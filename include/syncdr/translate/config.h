#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "syncdr/core/config.h"
#include "syncdr/diffusion/prompts.h"

/// The table of translators, and the settings of a translation. A new translator is a file of its own beside src/translate/filter_translator.cpp, and
/// here a row and, if it has settings, their group: configuration, arms, report, fits and jobs read them.
namespace syncdr::translate {

class Translator;
struct TranslateConfig;

/// Makes a translator from source to target. Throws DataError if its weights or prompts are missing or do not fit, UsageError on settings that the model
/// cannot take.
using MakeTranslator = std::unique_ptr<Translator>(const TranslateConfig& config, const std::string& source, const std::string& target, c10::Device device);
MakeTranslator make_cut, make_filter, make_img2img, make_instruct, make_ddib, make_structure, make_elite;
/// Throws what the translator would be refused for, as far as that shows before a model is read, or fitted: config may name none.
using CheckTranslator = void(const TranslateConfig& config);
CheckTranslator check_cut, check_img2img, check_instruct, check_ddib, check_structure, check_elite;

struct TranslatorRow {
  std::string_view name;
  std::string_view title;  ///< in the report
  std::string_view model;  ///< what `syncdr fit` has to train for it; empty: nothing
  /// Whether another variant gives another image. If not, one variant is all there is, and drawing a bad output again is useless.
  bool random;
  std::optional<diffusion::PromptKind> prompt;  ///< which of the target domain's texts it needs, if any
  MakeTranslator* make;
  CheckTranslator* check;   ///< null: nothing can be wrong; make_translator calls it
  std::string_view groups;  ///< of TranslateConfig's settings, which it reads, with a space between
};

inline constexpr TranslatorRow translators[] = {
    {"cut", "CUT translations", "cut", false, {}, make_cut, check_cut, "cut"},
    {"filter", "filter (control)", "", false, {}, make_filter, nullptr, "filter"},
    {"img2img", "img2img diffusion", "diffusion", true, diffusion::PromptKind::description, make_img2img, check_img2img, "diffusion img2img"},
    {"instruct", "InstructPix2Pix", "diffusion", true, diffusion::PromptKind::instruction, make_instruct, check_instruct, "diffusion instruct"},
    {"ddib", "DDIB", "diffusion", false, diffusion::PromptKind::description, make_ddib, check_ddib, "diffusion ddib"},
    {"structure", "structure diffusion", "diffusion", true, diffusion::PromptKind::description, make_structure, check_structure, "diffusion structure"},
    {"elite", "ELITE", "elite-mapper", true, diffusion::PromptKind::subject, make_elite, check_elite, "diffusion elite structure"},
};
/// Null: there is none of this name.
const TranslatorRow* find_translator(std::string_view name);
core::Choices translator_names();
/// The keys of TranslateConfig that it reads: those that are all translators', and those of its groups ("img2img.strength").
std::vector<std::string> keys_of(const TranslatorRow& translator);

struct CutTranslatorConfig {
  std::string weights;

  void visit(core::Fields& field) { field(weights, "weights", "generator.safetensors of `syncdr fit cut`; empty: the run's own fit"); }
};

struct FilterConfig {
  double sigma = 1.0;

  void visit(core::Fields& field) { field(sigma, "sigma", "standard deviation in pixels of the blur before the gradient", core::above(0)); }
};

struct LoraConfig {
  std::string file;
  double scale = 1;

  void visit(core::Fields& field) {
    field(file, "file", "LoRA of the UNet and the text encoder (safetensors), named as by peft, diffusers or kohya");
    field(scale, "scale", "how much of it is added", core::between(-100, 100));
  }
};

/// What the translators that sample from a diffusion model share.
struct DiffusionConfig {
  std::string checkpoint;
  std::string variant;
  std::vector<LoraConfig> lora;
  std::string scheduler;
  std::string spacing;
  int64_t steps = 50;
  double eta = 0;
  std::string precision = "fp32";
  std::string negative_prompt;
  std::vector<std::string> tokens;
  bool fitted_tokens = false;
  std::string autoencoder;
  bool winograd = true;
  bool cuda_graph = false;

  void visit(core::Fields& field) {
    field(checkpoint, "checkpoint", "folder in the layout of diffusers; empty: the run's own fit");
    field(variant, "variant", "variant of the weights, as fp16 in unet/diffusion_pytorch_model.fp16.safetensors; empty: none");
    field.list(lora, "lora", "LoRA files that are added to the checkpoint, as in [{file = \"lcm.safetensors\", scale = 0.8}]; scale 1 may be left out");
    field(scheduler, "scheduler", "sampler by the name of its class in diffusers; empty: the checkpoint's own");
    field(spacing, "spacing", "where the sampler's steps lie (timestep_spacing); empty: as the checkpoint says", {"", "leading", "trailing", "linspace"});
    field(steps, "steps", "steps of a whole trajectory", core::between(1, 1000));
    field(eta, "eta", "DDIM and TCD: share of fresh noise in each step", core::between(0, 1));
    field(precision, "precision", "arithmetic of the networks; sampling itself is in fp32. On a CPU bf16 is faster where the processor has AVX512_BF16",
          {"fp32", "bf16", "fp16"});
    field(negative_prompt, "negative_prompt", "text of the branch that guidance leads away from");
    field(tokens, "tokens",
          "files of tokens that were learned for the checkpoint and stand in prompts: of `syncdr fit textual-inversion`, or of diffusers, as safetensors");
    field(fitted_tokens, "fitted_tokens", "also the tokens of the run's own `fit textual-inversion`, which `run` then fits");
    field(autoencoder, "autoencoder",
          "folder of an autoencoder in diffusers' layout (AutoencoderKL or AutoencoderTiny, as taesd) that is used in place of the checkpoint's; empty: none");
    field(winograd, "winograd",
          "fp32 and bf16 on a CPU: 3x3 convolutions with 2.25 to 4 times fewer multiplications, whose weights take 1.8 to 4 times as much memory");
    field(cuda_graph, "cuda_graph", "on a GPU: one CUDA graph per step instead of a launch for each kernel; not yet measured");
  }
};

/// The defaults of these four are the method's.
struct Img2ImgConfig {
  double strength = 0.3;
  std::string cut = "tail";
  double guidance = 10;

  void visit(core::Fields& field) {
    field(strength, "strength", "how far the image is noised, as a share of the way", core::between(0, 1));
    field(cut, "cut",
          "tail: the share `strength` of the steps is taken, the last ones; spread (LCM and TCD): all steps, closer to each other, as diffusers' LCM pipeline",
          {"tail", "spread"});
    field(guidance, "guidance", "guidance scale; up to 1: none, and half the work", core::at_least(0));
  }
};

struct InstructConfig {
  double guidance = 10;
  double image_guidance = 1.2;

  void visit(core::Fields& field) {
    field(guidance, "guidance", "guidance scale of the text", core::at_least(0));
    field(image_guidance, "image_guidance", "guidance scale of the image", core::at_least(0));
  }
};

struct DdibConfig {
  double depth = 1;
  double source_guidance = 1;
  double guidance = 1;

  void visit(core::Fields& field) {
    field(depth, "depth", "share of the steps that are inverted: 1 to pure noise", core::between(0, 1));
    field(source_guidance, "source_guidance", "guidance scale of the inversion; 1: none", core::at_least(0));
    field(guidance, "guidance", "guidance scale of the decoding; 1: none", core::at_least(0));
  }
};

struct StructureConfig {
  double guidance = 2;
  double image_guidance = 1;
  std::vector<double> sigma = {0.9, 1.5};

  void visit(core::Fields& field) {
    field(guidance, "guidance", "guidance scale of the text", core::at_least(0));
    field(image_guidance, "image_guidance", "guidance scale of the structure map", core::at_least(0));
    field(sigma, "sigma", "range of the blur before the map, in pixels: drawn anew for each image and variant", core::above(0));
  }
};

/// The defaults are the method's.
struct EliteConfig {
  std::string mapper;
  std::string image_encoder;
  int64_t word = 0;
  double guidance = 5;
  double strength = 1;
  bool structure = true;
  std::string masks;
  std::string background = "black";
  bool crop = true;
  double margin = 0.1;

  void visit(core::Fields& field) {
    field(mapper, "mapper", "file of `syncdr-data convert --as elite` or `syncdr fit elite-mapper`; empty: the run's own fit");
    field(image_encoder, "image_encoder", "folder of a CLIPVisionModel or CLIPModel, the mapper's; empty: image_encoder in the checkpoint");
    field(word, "word", "which of the mapper's five words stands for the object; -1: all, one after the other", core::between(-1, 4));
    field(guidance, "guidance", "guidance scale; up to 1: none, and half the work", core::at_least(0));
    field(strength, "strength", "below 1: begins with the image, noised by this share of the way, instead of pure noise", core::between(0, 1));
    field(structure, "structure",
          "a UNet that takes an image beside the noise sees the image's structure map (translate.structure.sigma), as structure shows it");
    field(masks, "masks", "where the object is: alpha, the images' transparency, or a file with lines KEY<tab>PATH of mask images; empty: everywhere");
    field(background, "background", "with masks: what the image encoder sees around the object", {"black", "keep"});
    field(crop, "crop", "with masks: it sees the square around the object alone, instead of the whole image");
    field(margin, "margin", "of that square around the object, as a share of the object's longer side", core::between(0, 10));
  }
};

struct TranslateConfig {
  std::string translator = "cut";
  std::string run;
  std::string prompts;
  std::string image_prompts;
  int64_t size = 256;
  int64_t batch = 8;
  int64_t variants = 1;
  int64_t unit_rows = 64;
  int64_t taper = 16;
  double claim_timeout = 60;
  double patience = 600;
  std::string codec = "png";
  double max_bad_share = 0.01;
  int64_t codec_threads = 0;
  CutTranslatorConfig cut;
  FilterConfig filter;
  DiffusionConfig diffusion;
  Img2ImgConfig img2img;
  InstructConfig instruct;
  DdibConfig ddib;
  StructureConfig structure;
  EliteConfig elite;

  void visit(core::Fields& field) {
    field(translator, "translator", "how images are translated", translator_names());
    field(run, "run", "name of the translated set; empty: that of the run folder and the translator's, as in photos-cut");
    field(prompts, "prompts", "prompt file: TOML, a table per domain (configs/prompts/)");
    field(image_prompts, "image_prompts", "a prompt for each source image instead: lines of KEY<tab>TEXT");
    field(size, "size", "side of the images in pixels", core::between(8, 4096));
    field(batch, "batch", "images of one call; part of what the output may depend on, bit for bit", core::between(1, 4096));
    field(variants, "variants", "different translations of each image", core::between(1, 64));
    field(unit_rows, "unit_rows", "source rows of a unit: of work, of commit and of recovery", core::between(1, 1 << 20));
    field(taper, "taper", "units shrink, down to an eighth, once so many are left, so that ranks finish together; 0: all are alike", core::between(0, 1 << 20));
    field(claim_timeout, "claim_timeout", "seconds without a sign of life after which another job takes over what a dead one had claimed", core::at_least(2));
    field(patience, "patience", "seconds without a finished batch of any rank after which ranks that have finished give up on the others", core::above(0));
    field(codec, "codec", "how outputs are stored", {"png", "jpeg", "raw"});
    field(max_bad_share, "max_bad_share", "share of quarantined images above which the run stops", core::between(0, 1));
    field(codec_threads, "codec_threads", "threads of a rank that decode, and as many that encode; 0: half its share of the cores, 8 at most",
          core::between(0, 64));
    field.group(cut, "cut", "contrastive unpaired translation");
    field.group(filter, "filter", "gradient magnitude, no learning: a control");
    field.group(diffusion, "diffusion", "what the translators share that sample from a diffusion model");
    field.group(img2img, "img2img", "SDEdit: noised partly, denoised under the target's description");
    field.group(instruct, "instruct", "InstructPix2Pix: an instruction and the image");
    field.group(ddib, "ddib", "inverted under the source's description, decoded under the target's");
    field.group(structure, "structure", "from noise, under the target's description and the image's structure map");
    field.group(elite, "elite", "from noise, under a text in which a word is made of the image");
  }
};

}  // namespace syncdr::translate
