#include <fmt/format.h>

#include "networks/layers.h"
#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/diffusion/elite.h"

using namespace syncdr;

SYNCDR_PROBE(vision, "--model: the folder of a CLIPVisionModel or CLIPModel. images [B, 3, S, S], as CLIP takes them -> state.K [B, P, D], all hidden states") {
  const torch::NoGradGuard no_grad;
  io::NamedTensors out;
  for (const at::Tensor& state : diffusion::load_vision_encoder(model)->forward(in.at("images"))) out.emplace(fmt::format("state.{}", out.size()), state);
  return out;
}

SYNCDR_PROBE(clip_pixels, "pictures [B, 3, H, W] uint8, size [S] -> images [B, 3, S, S], as CLIP takes them") {
  return {{"images", diffusion::clip_pixels(in.at("pictures").to(at::kFloat) / 127.5 - 1, in.at("size").size(0))}};
}

namespace {

struct EliteProbe {
  std::string image_encoder, mapper, negative;
  std::vector<std::string> prompts;
  int64_t word = 0, steps = 100;
  double guidance = 5, strength = 1;

  void visit(core::Fields& field) {
    field(image_encoder, "image_encoder", "folder");
    field(mapper, "mapper", "file");
    field(negative, "negative", "text of the branch that guidance leads away from");
    field(prompts, "prompts", "a text for each image, with the word S");
    field(word, "word", "which of the words takes the place of S; -1: all");
    field(steps, "steps", "of LMS");
    field(guidance, "guidance", "guidance scale");
    field(strength, "strength", "share of the steps that is taken");
  }
};

}  // namespace

SYNCDR_PROBE(elite,
             "--model: a checkpoint. pictures [B, 3, H, W] in [-1, 1]; start, encoding [B, C, h, w], noise\n"
             "-> words [B, 5, D], hidden [B, L, D] of the prompts, key.NAME and value.NAME [B, heads, L, D / heads] of each attention, first [B, C, h, w], the "
             "latents after\n"
             "one call, images [B, 3, H, W], not cut. TOML: image_encoder, mapper, prompts, negative, word, steps, guidance, strength") {
  EliteProbe config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  const diffusion::CheckpointFolder checkpoint(model);
  diffusion::StableDiffusion stable(checkpoint, {});
  diffusion::Elite elite(stable, checkpoint, {config.image_encoder, config.mapper});
  io::NamedTensors out;
  const at::Tensor words = out["words"] = elite.words_of(diffusion::clip_pixels(in.at("pictures"), elite.side()));
  const diffusion::TextContext text = elite.encode_text(config.prompts, config.word < 0 ? words : words.narrow(1, config.word, 1));
  out["hidden"] = text.text;
  for (size_t k = 0; k < text.prepared.size(); ++k) {
    const std::string& name = stable.unet()->text_attentions()[k].name;
    out["key." + name] = text.prepared[k].key;
    out["value." + name] = text.prepared[k].value;
  }
  const auto guidance = diffusion::text_guidance(text, elite.encode_text(config.negative), config.guidance);
  const auto scheduler = stable.make_scheduler("LMSDiscreteScheduler", {.spacing = "linspace"});
  scheduler->set_steps(config.steps);
  out["first"] = stable.denoise(guidance, *scheduler, in.at("start") * scheduler->init_noise_sigma(), {.last = 1});
  const diffusion::PipelineNoise noise{.encoding = in.at("encoding"), .start = in.at("start"), .step = {}};
  out["images"] = config.strength == 1 ? diffusion::generate(stable, *scheduler, guidance, noise)
                                       : diffusion::img2img(stable, *scheduler, in.at("pictures"), guidance, config.strength, noise);
  return out;
}

SYNCDR_PROBE(
    elite_unet,
    "--model: a folder with unet/ and mapper.safetensors. state.K [B, P, W], all hidden states of an image encoder; sample [B, C, h, w], timesteps [],\n"
    "text [B, L, D] -> words [B, 5, D]; output [B, C, h, w], of the UNet with the mapper's projections, its weights packed") {
  const torch::NoGradGuard no_grad;
  diffusion::UNet unet = diffusion::load_unet(model / "unet");
  diffusion::pack_weights(*unet);
  std::vector<at::Tensor> states;
  while (in.contains(fmt::format("state.{}", states.size()))) states.push_back(in.at(fmt::format("state.{}", states.size())));
  diffusion::WordMapper mapper = diffusion::load_word_mapper(model / "mapper.safetensors", {.image_encoder = "the states",
                                                                                            .image_width = states.at(0).size(2),
                                                                                            .image_layers = std::ssize(states) - 1,
                                                                                            .checkpoint = model.string(),
                                                                                            .text_width = unet->config().text_width,
                                                                                            .attentions = unet->text_attentions()});
  const diffusion::TextContext text = unet->prepare(in.at("text"), mapper->projections(at::kFloat));
  return {{"words", mapper->forward(states)}, {"output", unet->forward(in.at("sample"), in.at("timesteps").item<double>(), text)}};
}
