#include "autoencoder_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/huber_loss.h>
#include <ATen/ops/l1_loss.h>
#include <ATen/ops/mse_loss.h>

#include "syncdr/core/error.h"

namespace syncdr::fit {
namespace {

constexpr double huber_corner = 0.1;

/// Differences between neighbours along a dimension.
at::Tensor neighbours(const at::Tensor& images, int64_t dim) {
  const int64_t length = images.size(dim) - 1;
  return images.narrow(dim, 1, length) - images.narrow(dim, 0, length);
}

}  // namespace

at::Tensor pixel_error(const at::Tensor& reconstruction, const at::Tensor& images, const std::string& kind) {
  if (kind == "l1") return at::l1_loss(reconstruction, images);
  if (kind == "l2") return at::mse_loss(reconstruction, images);
  SYNCDR_ASSERT(kind == "huber", "no pixel error \"{}\"", kind);
  return at::huber_loss(reconstruction, images, at::Reduction::Mean, huber_corner) / huber_corner;
}

at::Tensor chroma_error(const at::Tensor& reconstruction, const at::Tensor& images, double saturation_weight) {
  const at::Tensor error = reconstruction - images;  // Cb and Cr are linear: those of the difference are the difference of those
  const at::Tensor red = error.select(1, 0), green = error.select(1, 1), blue = error.select(1, 2);
  const at::Tensor luma = 0.299 * red + 0.587 * green + 0.114 * blue;
  const at::Tensor squares = (0.564 * (blue - luma)).square() + (0.713 * (red - luma)).square();
  const at::Tensor saturation = (images.amax(1) - images.amin(1)) / 2;
  return (squares * (1 + saturation_weight * saturation)).mean();
}

at::Tensor gradient_error(const at::Tensor& reconstruction, const at::Tensor& images) {
  const at::Tensor error = reconstruction - images;
  return neighbours(error, 3).abs().mean() + neighbours(error, 2).abs().mean();
}

at::Tensor kl_divergence(const at::Tensor& mean, const at::Tensor& logvar) { return (mean.square() + logvar.exp() - 1 - logvar).mean() / 2; }

}  // namespace syncdr::fit
