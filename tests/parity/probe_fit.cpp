#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include "denoiser_data.h"
#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/diffusion/structure_map.h"

using namespace syncdr;

namespace {

struct Draws {
  std::string domain;
  int64_t seed = 0, steps = 1, batch = 1, texts = 1, resize = 16, crop = 16;
  std::vector<int64_t> latent;
  bool condition = false;
  double drop_condition = 0, condition_noise = 0;
  std::vector<double> sigmas{0.7, 1.8};

  void visit(core::Fields& field) {
    field(domain, "domain", "whose images");
    field(seed, "seed", "seed");
    field(steps, "steps", "steps");
    field(batch, "batch", "images in a batch");
    field(texts, "texts", "of which an image gets one");
    field(resize, "resize", "side before the crop");
    field(crop, "crop", "side");
    field(latent, "latent", "C, h, w");
    field(condition, "condition", "with a structure map");
    field(drop_condition, "drop_condition", "rate");
    field(condition_noise, "condition_noise", "largest deviation");
    field(sigmas, "sigmas", "range of the map's blur");
  }
};

}  // namespace

SYNCDR_PROBE(
    denoiser_draws,
    "--model: a dataset. Of each step K all that is drawn for one rank's batch of one domain: images.K [B, 3, S, S] uint8, times.K, texts.K [B] int64,\n"
    "noise.K [B, C, h, w]; with a condition maps.K [B, 1, S, S] in [-1, 1], keeps.K [B], condition_noise.K [B, C, h, w]. TOML: as the settings of a fit") {
  Draws draws;
  core::read_config_text(core::visit_of(draws), toml, "--config");
  const fit::DenoiserOptions options{.images = {.batch = draws.batch, .augment = {.resize = draws.resize, .crop = draws.crop}, .extra = {}, .keys = "probe"},
                                     .texts = draws.texts,
                                     .condition = draws.condition,
                                     .drop_condition = draws.drop_condition,
                                     .sigmas = draws.sigmas,
                                     .condition_noise = draws.condition_noise};
  const data::Dataset dataset(model);
  const fit::DenoiserBatches batches(dataset, {draws.domain}, options, static_cast<uint64_t>(draws.seed), {0, draws.batch}, {.latent = draws.latent},
                                     [](const fit::ImageView&) { return false; });
  io::NamedTensors out;
  for (int64_t step = 0; step < draws.steps; ++step) {
    const fit::DenoiserBatch batch = batches.load(step);
    const auto put = [&](const char* name, const at::Tensor& tensor) { out.emplace(fmt::format("{}.{}", name, step), tensor.contiguous()); };
    put("images", batch.images);
    put("times", batch.times);
    put("texts", batch.prompts);
    put("noise", batch.noise);
    if (!draws.condition) continue;
    put("maps", diffusion::structure_map(batch.images, batch.sigmas));
    put("keeps", batch.keeps_condition);
    put("condition_noise", batch.condition_noise);
  }
  return out;
}
