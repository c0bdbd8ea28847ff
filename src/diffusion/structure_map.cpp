#include "syncdr/diffusion/structure_map.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/kthvalue.h>
#include <ATen/ops/replication_pad2d.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "syncdr/core/error.h"

// Only operations whose every value is one rounded sum, product, quotient or root, and order statistics: they give the same bits whatever the batch,
// the number of threads or the device. A convolution would not: its kernels add in an order that depends on all shapes.

namespace syncdr::diffusion {
namespace {

constexpr double strong_share = 0.96, scale_floor = 0.03, largest_sigma = 100;

/// 4 sigma, rounded as OpenCV's GaussianBlur does for floating point.
int64_t blur_radius(float sigma) { return (std::lround(8.0 * sigma + 1) | 1) / 2; }

/// [R + 1, B, 1, 1, 1] float32, R the largest radius: entry k holds each image's weight of the pixels k away, 0 beyond its own radius.
at::Tensor blur_weights(const at::Tensor& sigmas) {
  const float* const all = sigmas.const_data_ptr<float>();
  const int64_t count = sigmas.numel(), longest = blur_radius(*std::max_element(all, all + count));
  at::Tensor table = at::zeros({longest + 1, count, 1, 1, 1}, at::kFloat);
  float* const weights = table.mutable_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t radius = blur_radius(all[i]);
    const auto bell = [&](int64_t k) { return std::exp(-double(k * k) / (2.0 * double(all[i]) * double(all[i]))); };
    double sum = bell(0);
    for (int64_t k = 1; k <= radius; ++k) sum += 2 * bell(k);
    for (int64_t k = 0; k <= radius; ++k) weights[k * count + i] = float(bell(k) / sum);
  }
  return table;
}

/// Borders replicated by `radius` along one dimension: 2, rows, or 3, columns.
at::Tensor replicated(const at::Tensor& maps, int64_t radius, int64_t dim) {
  const bool columns = dim == 3;
  return at::replication_pad2d(maps, {columns ? radius : 0, columns ? radius : 0, columns ? 0 : radius, columns ? 0 : radius});
}

/// Gaussian blur along one dimension. Weights of 0 add nothing, so that an image does not see the other radii of its batch.
at::Tensor blurred(const at::Tensor& maps, const at::Tensor& weights, int64_t dim) {
  const int64_t radius = weights.size(0) - 1, size = maps.size(dim);
  const at::Tensor padded = replicated(maps, radius, dim);
  at::Tensor sum = maps * weights[0], pair = at::empty_like(maps);
  for (int64_t k = 1; k <= radius; ++k) {
    at::add_out(pair, padded.narrow(dim, radius - k, size), padded.narrow(dim, radius + k, size));
    sum.add_(pair.mul_(weights[k]));
  }
  return sum;
}

/// Squares of central differences along one dimension.
at::Tensor squared_change(const at::Tensor& maps, int64_t dim) {
  const int64_t size = maps.size(dim);
  const at::Tensor padded = replicated(maps, 1, dim);
  const at::Tensor change = (padded.narrow(dim, 2, size) - padded.narrow(dim, 0, size)).mul_(0.5);
  return change * change;
}

/// The 96 % quantile of each row, with linear interpolation between neighbours: [B, N] -> [B].
at::Tensor strong_value(const at::Tensor& values) {
  const double place = strong_share * double(values.size(1) - 1);
  const auto below = int64_t(place);
  const auto in_order = [&](int64_t k) { return std::get<0>(at::kthvalue(values, k + 1, 1)); };
  const at::Tensor low = in_order(below);
  if (below + 1 == values.size(1)) return low;
  return (in_order(below + 1) - low).mul_(place - double(below)).add_(low);
}

/// Channels in [0, 1], float32.
at::Tensor as_shares(const at::Tensor& images) {
  if (images.scalar_type() == at::kByte) return images.to(at::kFloat).mul_(1.0 / 255);
  return (images.to(at::kFloat) + 1).mul_(0.5);
}

at::Tensor checked_sigmas(const at::Tensor& images, const at::Tensor& sigmas) {
  if (images.dim() != 4 || images.numel() == 0 || (images.scalar_type() != at::kByte && !images.is_floating_point()))
    throw core::UsageError("structure_map needs images [B, C, H, W], bytes or floating point, got {} [{}]", c10::toString(images.scalar_type()),
                           fmt::join(images.sizes(), ", "));
  if (sigmas.dim() != 1 || sigmas.size(0) != images.size(0))
    throw core::UsageError("structure_map needs {} sigmas, one per image, got [{}]", images.size(0), fmt::join(sigmas.sizes(), ", "));
  at::Tensor on_host = sigmas.to(at::kCPU, at::kFloat).contiguous();
  for (int64_t i = 0; i < on_host.numel(); ++i) {
    const float sigma = on_host.const_data_ptr<float>()[i];
    if (!(sigma > 0 && sigma <= largest_sigma)) throw core::UsageError("structure_map: sigma is {}, not above 0 to {}", sigma, largest_sigma);
  }
  return on_host;
}

}  // namespace

at::Tensor structure_map(const at::Tensor& images, const at::Tensor& sigmas) {
  const at::Tensor weights = blur_weights(checked_sigmas(images, sigmas)).to(images.device());
  const at::Tensor smooth = blurred(blurred(as_shares(images), weights, 3), weights, 2);
  const at::Tensor gradient = squared_change(smooth, 3).add_(squared_change(smooth, 2)).amax(1, /*keepdim=*/true).sqrt_();
  const at::Tensor scale = strong_value(gradient.flatten(1)).add_(scale_floor).view({-1, 1, 1, 1});
  return (gradient / scale).clamp_max_(1).mul_(-2).add_(1);
}

}  // namespace syncdr::diffusion
