#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/pipeline.h"

using namespace syncdr;

namespace {

/// Several runs of one model, since reading it takes longer than most. Case k takes entry k of each list, or the only one.
struct PipelineCases {
  std::vector<std::string> prompts{""}, negatives{""}, targets{""};  // one text, or one for each image; of all cases
  std::vector<std::string> schedulers{""};
  std::vector<int64_t> steps{50};
  std::vector<double> strengths{0.3}, guidances{7.5}, image_guidances{1.5}, etas{0}, belows{1};
  std::vector<std::string> spacings{""};
  std::vector<std::string> loras;
  std::vector<double> lora_scales;
  std::vector<std::string> tokens;
  bool bf16 = false;

  void visit(core::Fields& field) {
    field(prompts, "prompts", "one text, or one for each image");
    field(negatives, "negatives", "the same for the negative prompt");
    field(targets, "targets", "the same for what ddib decodes with");
    field(schedulers, "schedulers", "classes, empty: the checkpoint's");
    field(steps, "steps", "number of steps");
    field(strengths, "strengths", "share of the steps that is taken");
    field(guidances, "guidances", "scale of the text's guidance");
    field(image_guidances, "image_guidances", "scale of the image's guidance");
    field(etas, "etas", "share of fresh noise, DDIM and TCD only");
    field(belows, "belows", "share of the training's times that the steps are spread over");
    field(spacings, "spacings", "timestep_spacing, empty: the checkpoint's");
    field(loras, "loras", "files, of all cases");
    field(lora_scales, "lora_scales", "of each file");
    field(tokens, "tokens", "files of learned tokens, of all cases");
    field(bf16, "bf16", "the networks compute in bfloat16");
  }
  size_t count() const {
    size_t most = 1;
    for (const size_t size : {schedulers.size(), steps.size(), strengths.size(), guidances.size(), image_guidances.size(), etas.size(), belows.size()})
      most = std::max(most, size);
    return most;
  }
};

template <class List> auto of_case(const List& list, size_t k) {
  if (list.size() != 1 && k >= list.size()) throw core::UsageError("a list of {} entries has none for case {}", list.size(), k);
  return list[list.size() == 1 ? 0 : k];
}

PipelineCases cases_of(const std::string& toml) {
  PipelineCases cases;
  core::read_config_text(core::visit_of(cases), toml, "--config");
  return cases;
}

diffusion::Additions additions_of(const PipelineCases& cases) {
  diffusion::Additions additions{.tokens = {cases.tokens.begin(), cases.tokens.end()}};
  for (size_t i = 0; i < cases.loras.size(); ++i) additions.lora.push_back({cases.loras[i], cases.lora_scales.at(i)});
  return additions;
}

/// The model with its texts, and what every case has of its own.
struct PipelineProbe {
  PipelineProbe(const std::filesystem::path& folder, const std::string& toml, const io::NamedTensors& in)
      : given(in), cases(cases_of(toml)), model(diffusion::CheckpointFolder(folder), {.dtype = cases.bf16 ? at::kBFloat16 : at::kFloat}, additions_of(cases)) {
    text = model.encode_text(cases.prompts);
    negative = model.encode_text(cases.negatives);
    target = model.encode_text(cases.targets);
  }

  std::unique_ptr<diffusion::Scheduler> scheduler(size_t k, const std::string& name) {
    auto made = model.make_scheduler(name, {.eta = of_case(cases.etas, k), .spacing = of_case(cases.spacings, k)});
    made->set_steps(of_case(cases.steps, k), of_case(cases.belows, k));
    return made;
  }
  std::unique_ptr<diffusion::Scheduler> scheduler(size_t k) { return scheduler(k, of_case(cases.schedulers, k)); }
  std::vector<diffusion::Branch> guidance(size_t k, const diffusion::TextContext& prompt) const {
    return diffusion::text_guidance(prompt, negative, of_case(cases.guidances, k), model.takes_guidance());
  }
  diffusion::PipelineNoise noise() const {
    const auto tensor = [&](const char* name) { return given.contains(name) ? given.at(name) : at::Tensor(); };
    const at::Tensor steps = tensor("step");
    return {.encoding = tensor("encoding"), .start = tensor("start"), .step = [steps](int64_t i) { return steps[i % steps.size(0)]; }};
  }
  /// name.K of each case.
  template <class Run> io::NamedTensors all(const char* name, const Run& run) {
    io::NamedTensors out;
    for (size_t k = 0; k < cases.count(); ++k) out.emplace(fmt::format("{}.{}", name, k), run(k));
    return out;
  }

  const io::NamedTensors& given;
  PipelineCases cases;
  diffusion::StableDiffusion model;
  diffusion::TextContext text{at::Tensor()}, negative{at::Tensor()}, target{at::Tensor()};
};

}  // namespace

SYNCDR_PROBE(
    img2img,
    "--model: a checkpoint. images [B, 3, H, W] in [-1, 1], encoding [B, C, h, w] (the posterior's noise; absent: its mode), start [B, C, h, w],\n"
    "step [calls, B, C, h, w] (for schedulers that want noise; begins again after its end) -> images.K [B, 3, H, W] of case K, not cut\n"
    "TOML: prompts, negatives; loras, lora_scales; lists with an entry a case: schedulers, spacings, steps, strengths, belows, guidances, etas; bf16") {
  PipelineProbe probe(model, toml, in);
  return probe.all("images", [&](size_t k) {
    return diffusion::img2img(probe.model, *probe.scheduler(k), in.at("images"), probe.guidance(k, probe.text), of_case(probe.cases.strengths, k),
                              probe.noise());
  });
}

SYNCDR_PROBE(instruct,
             "--model: a checkpoint of InstructPix2Pix. images [B, 3, H, W] in [-1, 1], start [B, C, h, w], step [calls, B, C, h, w] as of img2img\n"
             "-> images.K [B, 3, H, W] of case K, not cut\n"
             "TOML: prompts, negatives; lists with an entry a case: schedulers, steps, guidances, image_guidances, etas") {
  PipelineProbe probe(model, toml, in);
  const at::Tensor condition = probe.model.image_condition(in.at("images"));
  return probe.all("images", [&](size_t k) {
    const auto guidance =
        diffusion::instruct_guidance(probe.text, probe.negative, condition, of_case(probe.cases.guidances, k), of_case(probe.cases.image_guidances, k));
    return diffusion::generate(probe.model, *probe.scheduler(k), guidance, probe.noise());
  });
}

SYNCDR_PROBE(invert,
             "--model: a checkpoint. images [B, 3, H, W] in [-1, 1] -> latents.K [B, C, h, w] of case K, by DDIM inversion\n"
             "TOML: prompts, negatives; lists with an entry a case: steps, strengths (depths), guidances") {
  PipelineProbe probe(model, toml, in);
  return probe.all("latents", [&](size_t k) {
    return diffusion::invert(probe.model, *probe.scheduler(k, "DDIMInverseScheduler"), in.at("images"), probe.guidance(k, probe.text),
                             of_case(probe.cases.strengths, k));
  });
}

SYNCDR_PROBE(ddib,
             "--model: a checkpoint. images [B, 3, H, W] in [-1, 1] -> images.K [B, 3, H, W] of case K: inverted under prompts, decoded under targets\n"
             "TOML: prompts, targets, negatives; lists with an entry a case: schedulers, steps, strengths (depths), guidances") {
  PipelineProbe probe(model, toml, in);
  return probe.all("images", [&](size_t k) {
    return diffusion::ddib(probe.model, *probe.scheduler(k, "DDIMInverseScheduler"), *probe.scheduler(k), in.at("images"), probe.guidance(k, probe.text),
                           probe.guidance(k, probe.target), of_case(probe.cases.strengths, k));
  });
}
