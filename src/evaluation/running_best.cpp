#include "running_best.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <span>

#include <bit>
#include <functional>
#include <limits>

#include "syncdr/core/error.h"

namespace syncdr::evaluation {
namespace {

// A float's bits sort as an int32 if it is positive; of a negative one all bits but the sign are flipped. The map is its own inverse.
int32_t sortable(int32_t bits) { return bits ^ ((bits >> 31) & 0x7FFFFFFF); }
at::Tensor sortable(const at::Tensor& bits) { return bits.bitwise_xor(bits.bitwise_right_shift(31).bitwise_and_(0x7FFFFFFF)); }

int64_t key_of(float score, int64_t row) {
  const int32_t upper = sortable(std::bit_cast<int32_t>(score + 0.0f));  // + 0 makes -0 equal to 0
  return int64_t{upper} * (max_gallery_rows + 1) + (max_gallery_rows - row);
}
float score_of(int64_t key) { return std::bit_cast<float>(sortable(static_cast<int32_t>(key >> 32))); }

// best: k keys of one row, a heap whose front is the worst.
void offer_row(std::span<int64_t> best, std::span<const float> scores, int64_t first_row) {
  float worst = score_of(best.front());
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!(scores[i] > worst)) continue;  // an equal score of a later row loses
    std::pop_heap(best.begin(), best.end(), std::greater<>());
    best.back() = key_of(scores[i], first_row + static_cast<int64_t>(i));
    std::push_heap(best.begin(), best.end(), std::greater<>());
    worst = score_of(best.front());
  }
}

}  // namespace

at::Tensor no_candidates(int64_t rows, int64_t k, c10::Device device) {
  const int64_t worst = key_of(-std::numeric_limits<float>::infinity(), 0);
  return at::full({rows, k}, worst, at::TensorOptions(at::kLong).device(device));
}

void offer_by_heap(at::Tensor& best, const at::Tensor& scores, int64_t first_row) {
  SYNCDR_ASSERT(best.is_contiguous() && scores.stride(1) == 1, "rows must be dense");
  const auto k = static_cast<size_t>(best.size(1)), columns = static_cast<size_t>(scores.size(1));
  int64_t* keys = best.data_ptr<int64_t>();
  const float* values = scores.const_data_ptr<float>();
  const int64_t stride = scores.stride(0);
  at::parallel_for(0, scores.size(0), 8, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) offer_row({keys + row * static_cast<int64_t>(k), k}, {values + row * stride, columns}, first_row);
  });
}

void offer_by_topk(at::Tensor& best, const at::Tensor& scores, int64_t first_row) {
  const auto upper = sortable(scores.add(0.0).view(at::kInt)).to(at::kLong);
  const int64_t last = max_gallery_rows - first_row;
  const auto lower = at::arange(last, last - scores.size(1), -1, upper.options());
  const auto found = std::get<0>(upper.mul(max_gallery_rows + 1).add_(lower).topk(std::min(best.size(1), scores.size(1)), 1));
  best = std::get<0>(at::cat({best, found}, 1).topk(best.size(1), 1));
}

Neighbours in_order(const at::Tensor& best) {
  const auto keys = std::get<0>(best.sort(1, /*descending=*/true));
  return {sortable(keys.bitwise_right_shift(32).to(at::kInt)).view(at::kFloat), keys.bitwise_and(max_gallery_rows).neg_().add_(max_gallery_rows)};
}

}  // namespace syncdr::evaluation
