#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/scheduler.h"

using namespace syncdr;

namespace {

/// Several trajectories in one call, since starting the program takes longer than any of them. Entry k of each list belongs to case k.
struct ScheduleCases {
  std::vector<std::string> folders, names;  // an empty name: the class that the folder's file names
  std::vector<int64_t> steps;
  std::vector<double> strengths, etas, belows;

  void visit(core::Fields& field) {
    field(folders, "folders", "of scheduler_config.json, in the model's");
    field(names, "names", "class to make of it");
    field(steps, "steps", "number of steps");
    field(strengths, "strengths", "of image to image, 1: from pure noise");
    field(etas, "etas", "share of fresh noise");
    field(belows, "belows", "share of the training's times that the steps are spread over");
  }
};

/// The i-th of a stack, which begins again after its end.
at::Tensor at_call(const at::Tensor& stack, int64_t i) { return stack[i % stack.size(0)]; }

/// The samples after each call and what the network would have seen, [calls, B, C, H, W] each.
void put_trajectory(io::NamedTensors& out, const std::string& prefix, diffusion::Scheduler& scheduler, int64_t start, const io::NamedTensors& in) {
  const at::Tensor& first = in.at("sample");
  at::Tensor sample = start == 0 ? first * scheduler.init_noise_sigma() : scheduler.noise_to_step(in.at("original"), first, start);
  std::vector<at::Tensor> samples{sample}, inputs;
  for (int64_t i = start; i < int64_t(scheduler.timesteps().size()); ++i) {
    inputs.push_back(scheduler.scale_model_input(sample, i));
    sample = scheduler.step(at_call(in.at("outputs"), i), i, sample, at_call(in.at("noises"), i));
    samples.push_back(sample);
  }
  out.emplace(prefix + "samples", at::stack(samples));
  out.emplace(prefix + "inputs", at::stack(inputs));
}

}  // namespace

SYNCDR_PROBE(schedule,
             "--model: a folder of schedulers' folders. sample [B, C, h, w] (noise), original, outputs [calls, B, C, h, w] (of the network), noises,\n"
             "originals [N, C, h, w], noise, times [N] int64 -> of case K: K.timesteps [calls] float64, K.samples [calls + 1, B, C, h, w],\n"
             "K.inputs [calls, B, C, h, w], K.added and K.velocity [N, C, h, w]; or K.refused, where the number of steps is\n"
             "TOML: lists with an entry a case: folders, names (classes), steps, strengths, etas, belows") {
  ScheduleCases cases;
  core::read_config_text(core::visit_of(cases), toml, "--config");
  io::NamedTensors out;
  for (size_t k = 0; k < cases.folders.size(); ++k) {
    const std::string prefix = fmt::format("{}.", k);
    const auto scheduler = diffusion::load_scheduler(model / cases.folders[k], cases.names[k], {.eta = cases.etas[k]});
    try {
      scheduler->set_steps(cases.steps[k], cases.belows[k]);
    } catch (const core::UsageError&) {
      out.emplace(prefix + "refused", at::zeros({1}));
      continue;
    }
    const int64_t start = scheduler->start_index(cases.strengths[k]);
    const std::vector<double>& times = scheduler->timesteps();
    out.emplace(prefix + "timesteps", at::tensor(std::vector<double>(times.begin() + start, times.end()), at::kDouble));
    put_trajectory(out, prefix, *scheduler, start, in);
    const at::Tensor training = in.at("times").clamp_max(scheduler->train_steps() - 1);
    out.emplace(prefix + "added", scheduler->add_noise(in.at("originals"), in.at("noise"), training));
    out.emplace(prefix + "velocity", scheduler->velocity(in.at("originals"), in.at("noise"), training));
  }
  return out;
}
