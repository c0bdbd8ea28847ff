#include "syncdr/evaluation/tsne.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <limits>

#include "syncdr/core/error.h"
#include "syncdr/nn/one_thread.h"

namespace syncdr::evaluation {
namespace {

constexpr double exaggeration = 12;
constexpr int64_t exaggerated_steps = 250;
constexpr double first_spread = 1e-4;  // of the first component where it begins
constexpr double smallest_share = 1e-12;

/// |x_i - x_j|^2: [N, D] -> [N, N], 0 on the diagonal.
at::Tensor squared_distances(const at::Tensor& x) {
  const auto squares = x.square().sum(1, /*keepdim=*/true);
  return (squares + squares.t() - 2 * x.matmul(x.t())).clamp_min_(0).fill_diagonal_(0);
}

/// How much i and j are neighbours: each row's Gaussian has the width at which its entropy is log(perplexity). [N, N], sums to 1.
at::Tensor neighbourhoods(const at::Tensor& features, double perplexity) {
  auto distances = squared_distances(features);
  const auto nearest = distances.clone().fill_diagonal_(std::numeric_limits<double>::max()).amin(1, /*keepdim=*/true);
  distances -= nearest;  // changes no share, and the nearest one's never underflows
  auto beta = at::ones_like(nearest), low = at::zeros_like(nearest), high = at::full_like(nearest, std::numeric_limits<double>::infinity());
  at::Tensor shares;
  for (int halving = 0; halving < 60; ++halving) {
    const auto weights = (-distances * beta).exp_().fill_diagonal_(0);
    const auto sums = weights.sum(1, /*keepdim=*/true);
    shares = weights / sums;
    const auto too_wide = (sums.log() + beta * (distances * shares).sum(1, /*keepdim=*/true)).gt(std::log(perplexity));
    low = at::where(too_wide, beta, low);
    high = at::where(too_wide, high, beta);
    beta = at::where(high.isinf(), 2 * beta, (low + high) / 2);
  }
  return (shares + shares.t()) / (2.0 * static_cast<double>(features.size(0)));
}

/// The first two principal components, each turned so that its largest entry is positive.
at::Tensor principal_plane(const at::Tensor& features) {
  const auto centred = features - features.mean(0, /*keepdim=*/true);
  const auto axes = std::get<1>(at::linalg_eigh(centred.t().matmul(centred)));  // ascending
  const int64_t last = axes.size(1) - 1;
  auto plane = at::zeros({features.size(0), 2}, features.options());
  for (int64_t k = 0; k < std::min<int64_t>(2, last + 1); ++k) {
    auto component = centred.matmul(axes.select(1, last - k));
    if (component[component.abs().argmax().item<int64_t>()].item<double>() < 0) component = -component;
    plane.select(1, k).copy_(component);
  }
  const double spread = plane.select(1, 0).std(/*unbiased=*/false).item<double>();
  return spread > 0 ? plane * (first_spread / spread) : plane;
}

}  // namespace

Embedding tsne(const at::Tensor& features, double perplexity, int64_t steps) {
  const int64_t count = features.size(0);
  if (count < 4) throw core::UsageError("t-SNE needs 4 points at least, not {}", count);
  if (!at::isfinite(features).all().item<bool>()) throw core::DataError("t-SNE: a feature is not finite");
  const nn::OneThread one_thread;
  const auto exact = features.to(at::kDouble);
  const auto shares = neighbourhoods(exact, std::min(perplexity, static_cast<double>(count - 1) / 3)).to(at::kFloat).clamp_min_(smallest_share);
  auto places = principal_plane(exact).to(at::kFloat);
  const double rate = std::max(static_cast<double>(count) / exaggeration / 4, 50.0);
  auto update = at::zeros_like(places), gains = at::ones_like(places);
  for (int64_t step = 0; step < steps; ++step) {
    const bool early = step < exaggerated_steps;
    const auto closeness = squared_distances(places).add_(1).reciprocal_().fill_diagonal_(0);
    // 4 sum_j (p_ij - q_ij) w_ij (y_i - y_j), where q = w / sum w
    const auto pull = (shares * (early ? exaggeration : 1) - closeness / closeness.sum()).mul_(closeness);
    auto gradient = 4 * (pull.sum(1, /*keepdim=*/true) * places - pull.matmul(places));
    gains = at::where((update * gradient).lt(0), gains + 0.2, gains * 0.8).clamp_min_(0.01);
    update = (early ? 0.5 : 0.8) * update - rate * gains * gradient;
    places = places + update;
  }
  const auto closeness = squared_distances(places.to(at::kDouble)).add_(1).reciprocal_().fill_diagonal_(0);
  const auto found = (closeness / closeness.sum()).clamp_min_(smallest_share), wanted = shares.to(at::kDouble);
  const auto terms = wanted * (wanted / found).log();
  return {places - places.mean(0, /*keepdim=*/true), terms.fill_diagonal_(0).sum().item<double>()};
}

}  // namespace syncdr::evaluation
