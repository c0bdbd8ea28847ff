#include "denoiser_data.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"

namespace syncdr::fit {
namespace {

/// What a stream of training noise is for, as its variant. The first stage's are below.
enum DenoiserDraw : uint32_t { draw_choices = 16, draw_noise, draw_condition_noise, draw_sigma };

void fill_noise(at::Tensor& tensor, int64_t row, core::Random random, double deviation) {
  const int64_t count = tensor.numel() / tensor.size(0);
  const std::span<float> values(tensor.mutable_data_ptr<float>() + row * count, static_cast<size_t>(count));
  random.fill_normal(values);
  for (float& value : values) value *= static_cast<float>(deviation);
}

}  // namespace

DenoiserOptions options_of(const DiffusionFitConfig& config, int64_t domains) {
  return {.images = {.batch = config.batch / domains, .augment = config.augment, .extra = config.extra_split, .keys = "fit.diffusion"},
          .domains = domains,
          .condition = config.layout == "instruct",
          .drop_prompt = config.drop_prompt,
          .drop_condition = config.drop_condition,
          .sigmas = config.sigmas,
          .condition_noise = config.condition_noise,
          .min_snr_gamma = config.min_snr_gamma,
          .views = config.views,
          .bfloat16 = config.precision == "bf16"};
}

DenoiserBatches::DenoiserBatches(const data::Dataset& dataset, const std::vector<std::string>& domains, const DenoiserOptions& options, uint64_t seed,
                                 training::Part part, DenoiserShape shape, std::function<bool(const ImageView&)> encoded)
    : options_(options), seed_(seed), part_(part), shape_(std::move(shape)), encoded_(std::move(encoded)) {
  SYNCDR_ASSERT(options.domains == std::ssize(domains), "options for {} domains, {} are given", options.domains, domains.size());
  for (const auto& domain : domains) streams_.emplace_back(dataset, domain, options.images, seed, streams_.size() + 1);
}

/// Domains take turns in the positions of the global batch: every rank has nearly as many of each.
std::vector<int64_t> DenoiserBatches::positions_of(int64_t domain) const {
  std::vector<int64_t> positions;
  for (int64_t position = part_.first; position < part_.last; ++position) {
    if (position % domains() == domain) positions.push_back(position);
  }
  return positions;
}

void DenoiserBatches::add_domain(DenoiserBatch& batch, int64_t domain, int64_t step, std::vector<at::Tensor>& images) const {
  const ImageStream& stream = streams_[static_cast<size_t>(domain)];
  const std::vector<int64_t> positions = positions_of(domain);
  if (positions.empty()) return;
  const int64_t epoch = stream.epoch_of(step), view = options_.views > 0 ? epoch % options_.views : epoch;
  std::vector<int64_t> missing;
  for (const int64_t entry : stream.entries(step, {positions.front() / domains(), positions.back() / domains() + 1})) {
    batch.views.push_back({domain, entry, view});
    if (encoded_(batch.views.back())) continue;
    batch.loaded.push_back(static_cast<int64_t>(batch.views.size()) - 1);
    missing.push_back(entry);
  }
  if (!missing.empty()) images.push_back(stream.load(missing, view));
}

void DenoiserBatches::draw(DenoiserBatch& batch, int64_t step) const {
  const auto count = static_cast<int64_t>(batch.views.size());
  batch.prompts = at::empty({count}, at::kLong);
  batch.times = at::empty({count}, at::kLong);
  batch.keeps_condition = at::empty({count}, at::kFloat);
  batch.noise = at::empty({count, shape_.latent[0], shape_.latent[1], shape_.latent[2]}, at::kFloat);
  if (options_.condition) batch.condition_noise = at::empty_like(batch.noise);
  int64_t row = 0;
  for (int64_t domain = 0; domain < domains(); ++domain) {
    for (const int64_t position : positions_of(domain)) {
      const auto stream = [&](DenoiserDraw purpose) {
        return core::Random(seed_, core::Purpose::training_noise, static_cast<uint64_t>(position), purpose, static_cast<uint32_t>(step));
      };
      core::Random choices = stream(draw_choices);
      batch.times.mutable_data_ptr<int64_t>()[row] = static_cast<int64_t>(choices.below(static_cast<uint64_t>(shape_.train_steps)));
      const bool drops = choices.chance(options_.drop_prompt);
      batch.keeps_condition.mutable_data_ptr<float>()[row] = choices.chance(options_.drop_condition) ? 0.0F : 1.0F;
      const double deviation = choices.uniform(0, options_.condition_noise);
      const int64_t text = domain * options_.texts + static_cast<int64_t>(choices.below(static_cast<uint64_t>(options_.texts)));
      batch.prompts.mutable_data_ptr<int64_t>()[row] = drops ? domains() * options_.texts : text;
      fill_noise(batch.noise, row, stream(draw_noise), 1);
      if (options_.condition) fill_noise(batch.condition_noise, row, stream(draw_condition_noise), deviation);
      ++row;
    }
  }
}

DenoiserBatch DenoiserBatches::load(int64_t step) const {
  DenoiserBatch batch;
  std::vector<at::Tensor> images;
  for (int64_t domain = 0; domain < domains(); ++domain) add_domain(batch, domain, step, images);
  if (!images.empty()) batch.images = at::cat(images);
  batch.sigmas = at::empty({static_cast<int64_t>(batch.loaded.size())}, at::kFloat);
  auto* sigma = batch.sigmas.mutable_data_ptr<float>();
  for (const int64_t row : batch.loaded) {
    const ImageView& view = batch.views[static_cast<size_t>(row)];
    core::Random random(seed_, core::Purpose::training_noise, static_cast<uint64_t>(view.entry * domains() + view.domain), draw_sigma,
                        static_cast<uint32_t>(view.view));
    *sigma++ = static_cast<float>(random.uniform(options_.sigmas[0], options_.sigmas[1]));
  }
  draw(batch, step);
  return batch;
}

}  // namespace syncdr::fit
