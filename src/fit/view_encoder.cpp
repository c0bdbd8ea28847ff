#include "view_encoder.h"

#include <algorithm>

#include "syncdr/diffusion/structure_map.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/training/autocast.h"

namespace syncdr::fit {
namespace {

/// The most pictures that go through the autoencoder at once. With one size of call a picture's latents do not depend on its company: kernels are
/// chosen, and sums split, by the size.
constexpr int64_t pictures_at_once = 16;

}  // namespace

ViewEncoder::ViewEncoder(diffusion::Autoencoder autoencoder, c10::Device device, const DenoiserOptions& options)
    : autoencoder_(std::move(autoencoder)), device_(device), condition_(options.condition), bfloat16_(options.bfloat16), keeps_(options.views > 0) {}

bool ViewEncoder::has(const ImageView& view) const {
  if (!keeps_) return false;
  const std::lock_guard lock(mutex_);
  return kept_.contains(view.id());
}

at::Tensor ViewEncoder::modes_of(const at::Tensor& pictures, int64_t at_once) {
  const training::Autocast autocast(device_, bfloat16_);
  std::vector<at::Tensor> modes;
  for (const at::Tensor& some : pictures.split(at_once)) {
    const int64_t count = some.size(0);
    const at::Tensor full = count == at_once ? some : at::cat({some, some[0].expand({at_once - count, -1, -1, -1})});
    modes.push_back(autoencoder_->encode(full).mode().narrow(0, 0, count).to(at::kFloat));
  }
  return at::cat(modes);
}

at::Tensor ViewEncoder::structure_of(const at::Tensor& images, const at::Tensor& sigmas) const {
  return diffusion::structure_map(images.to(device_), sigmas.to(device_)).expand({-1, 3, -1, -1});
}

at::Tensor ViewEncoder::condition_of(const at::Tensor& images, const at::Tensor& sigmas) {
  const torch::NoGradGuard no_grad;
  return modes_of(structure_of(images, sigmas), std::min(pictures_at_once, images.size(0)));
}

/// [n, C, h, w], or [n, 2 C, h, w] with the condition behind.
at::Tensor ViewEncoder::encode_fresh(const DenoiserBatch& batch) {
  const auto at_once = std::min(pictures_at_once, static_cast<int64_t>(batch.views.size()));
  const at::Tensor latents = modes_of(nn::from_bytes(batch.images, device_), at_once) * autoencoder_->config().scaling_factor;
  return condition_ ? at::cat({latents, modes_of(structure_of(batch.images, batch.sigmas), at_once)}, 1) : latents;
}

EncodedViews ViewEncoder::encode(const DenoiserBatch& batch) {
  const torch::NoGradGuard no_grad;
  const at::Tensor fresh = batch.loaded.empty() ? at::Tensor() : encode_fresh(batch);
  std::unordered_map<int64_t, at::Tensor> of_row;
  for (size_t i = 0; i < batch.loaded.size(); ++i) of_row.emplace(batch.loaded[i], fresh[static_cast<int64_t>(i)]);
  std::vector<at::Tensor> rows;
  const std::lock_guard lock(mutex_);
  for (size_t row = 0; row < batch.views.size(); ++row) {
    const auto found = of_row.find(static_cast<int64_t>(row));
    rows.push_back(found != of_row.end() ? found->second : kept_.at(batch.views[row].id()));
    if (keeps_ && found != of_row.end()) kept_.emplace(batch.views[row].id(), found->second.clone());  // a view would keep its whole batch
  }
  const at::Tensor all = at::stack(rows);
  if (!condition_) return {.latents = all};
  const std::vector<at::Tensor> halves = all.chunk(2, 1);
  return {.latents = halves[0], .condition = halves[1]};
}

}  // namespace syncdr::fit
