#include "syncdr/evaluation/search.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <cmath>
#include <limits>

#include "running_best.h"
#include "syncdr/core/error.h"

namespace syncdr::evaluation {
namespace {

// Rows of the similarity tile: 16 MiB of scores at 8192 columns, which stay in a CPU's last cache between the product and the search.
constexpr int64_t query_rows = 512;

// queries [q, D] -> the best keys [q, k]. room: for a tile of scores, used again and again: fresh pages cost more than the search.
at::Tensor search_rows(const at::Tensor& queries, const at::Tensor& gallery, int64_t k, int64_t tile, const at::Tensor& room) {
  auto best = no_candidates(queries.size(0), k, queries.device());
  for (int64_t first = 0; first < gallery.size(0); first += tile) {
    const int64_t columns = std::min(tile, gallery.size(0) - first);
    auto scores = room.narrow(0, 0, queries.size(0) * columns).view({queries.size(0), columns});
    at::mm_out(scores, queries, gallery.narrow(0, first, columns).t());
    (scores.is_cpu() ? offer_by_heap : offer_by_topk)(best, scores, first);
  }
  return best;
}

// The largest magnitude of a feature. aminmax passes NaN on and needs no memory, unlike isfinite and abs.
double largest(const at::Tensor& features, const char* what) {
  SYNCDR_ASSERT(features.dim() == 2 && features.scalar_type() == at::kFloat, "{} must be [rows, D] float", what);
  if (features.numel() == 0) return 0;
  const auto [low, high] = at::aminmax(features);
  const double magnitude = std::max(std::abs(low.item<double>()), std::abs(high.item<double>()));
  if (!std::isfinite(magnitude) || std::isnan(low.item<double>()))
    throw core::DataError("search: the {} features hold NaN or infinity. The encoder's training has diverged, or its weights are damaged.",
                          what);
  return magnitude;
}

// No sum of D products may overflow, so that every score is finite and has its place in the order.
void check_features(const at::Tensor& queries, const at::Tensor& gallery) {
  const double bound = largest(queries, "query") * largest(gallery, "gallery") * static_cast<double>(queries.size(1));
  SYNCDR_ASSERT(queries.size(1) == gallery.size(1), "queries have {} features, the gallery {}", queries.size(1), gallery.size(1));
  if (bound > std::numeric_limits<float>::max())
    throw core::DataError("search: similarities may reach {:.3g}. Scale the features to unit length.", bound);
}

}  // namespace

Neighbours top_k(const at::Tensor& queries, const at::Tensor& gallery, int64_t k, int64_t tile) {
  if (k < 1 || tile < 1) throw core::UsageError("search: k = {} and tile = {} must be at least 1.", k, tile);
  check_features(queries, gallery);
  SYNCDR_ASSERT(gallery.size(0) <= max_gallery_rows, "a gallery of {} rows does not fit 32 bits", gallery.size(0));
  const at::NoGradGuard no_grad;
  k = std::min(k, gallery.size(0));
  tile = std::min(tile, gallery.size(0));
  if (queries.size(0) == 0 || k == 0) return in_order(no_candidates(queries.size(0), k, queries.device()));
  const auto room = at::empty({std::min(query_rows, queries.size(0)) * tile}, queries.options());
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < queries.size(0); first += query_rows)
    parts.push_back(search_rows(queries.narrow(0, first, std::min(query_rows, queries.size(0) - first)), gallery, k, tile, room));
  return in_order(at::cat(parts));
}

}  // namespace syncdr::evaluation
