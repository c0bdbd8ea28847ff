#include "syncdr/retrieval/running_best.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <limits>

#include "syncdr/core/error.h"

namespace syncdr::retrieval {
namespace {

constexpr double lowest = -std::numeric_limits<double>::infinity();
constexpr int64_t last_column = 0xFFFFFFFF;  // that fits into a key

// A float's bits sort as an int32 if it is positive; of a negative one all bits but the sign are flipped. The map is its own inverse.
at::Tensor sortable(const at::Tensor& bits) { return bits.bitwise_xor(bits.bitwise_right_shift(31).bitwise_and_(0x7FFFFFFF)); }

}  // namespace

RunningBest::RunningBest(int64_t rows, int64_t k, const at::TensorOptions& scores)
    : RunningBest(rows, k, scores, !scores.device().is_cpu() && scores.dtype() == at::kFloat) {}

RunningBest::RunningBest(int64_t rows, int64_t k, const at::TensorOptions& scores, bool by_keys) : k_(k), options_(scores), by_keys_(by_keys) {
  SYNCDR_ASSERT(k > 0, "the {} best", k);
  if (by_keys_) {
    const at::Tensor worst = sortable(at::full({rows, k}, lowest, scores).view(at::kInt)).to(at::kLong);
    keys_ = worst.mul_(last_column + 1).add_(last_column);
  } else {
    rows_.assign(static_cast<size_t>(rows), {.found = {}, .worst = lowest});
  }
}

void RunningBest::cut(Row& row) const {
  if (static_cast<int64_t>(row.found.size()) <= k_) return;
  std::nth_element(row.found.begin(), row.found.begin() + (k_ - 1), row.found.end(), IsBetter());
  row.found.resize(static_cast<size_t>(k_));
  row.worst = row.found.back().score;
}

template <class T> void RunningBest::offer_to(Row& row, const T* scores, int64_t count, int64_t first) const {
  constexpr int64_t step = 64;
  const auto full = static_cast<size_t>(k_ + std::clamp<int64_t>(k_, step, 4096));
  for (int64_t at = 0; at < count; at += step) {
    const int64_t last = std::min(at + step, count);
    const T worst = static_cast<T>(row.worst);
    if (last - at == step) {  // of fixed length, so that the compiler makes vectors of it
      int32_t hits = 0;
      for (int64_t i = 0; i < step; ++i) hits += scores[at + i] > worst ? 1 : 0;
      if (hits == 0) continue;
    }
    for (int64_t i = at; i < last; ++i) {
      if (scores[i] > worst) row.found.push_back({scores[i], first + i});
    }
    if (row.found.size() >= full) cut(row);
  }
}

template <class T> void RunningBest::offer_rows(const at::Tensor& scores, int64_t first) {
  const T* values = scores.const_data_ptr<T>();
  for (Row& row : rows_) {
    offer_to(row, values, scores.size(1), first);
    values += scores.stride(0);
  }
}

void RunningBest::offer_keys(const at::Tensor& scores, int64_t first) {
  SYNCDR_ASSERT(first + scores.size(1) <= last_column + 1, "column {} does not fit 32 bits", first + scores.size(1));
  const at::Tensor finite = scores.nan_to_num(lowest, -lowest, lowest).add_(0.0);  // + 0 makes -0 equal to 0
  const at::Tensor upper = sortable(finite.view(at::kInt)).to(at::kLong),
                   lower = at::arange(last_column - first, last_column - first - scores.size(1), -1, upper.options());
  const at::Tensor found = std::get<0>(upper.mul_(last_column + 1).add_(lower).topk(std::min(k_, scores.size(1)), 1));
  keys_ = std::get<0>(at::cat({keys_, found}, 1).topk(k_, 1));
}

void RunningBest::offer(const at::Tensor& scores, int64_t first) {
  if (by_keys_) return offer_keys(scores, first);
  const at::Tensor here = scores.to(at::kCPU);  // double on a GPU: for comparisons, not for speed
  SYNCDR_ASSERT(here.size(0) == static_cast<int64_t>(rows_.size()) && here.stride(1) == 1, "{} rows of scores", here.size(0));
  if (here.scalar_type() == at::kDouble) {
    offer_rows<double>(here, first);
  } else {
    offer_rows<float>(here, first);
  }
}

RunningBest::Result RunningBest::in_order() {
  if (by_keys_) {
    const at::Tensor keys = std::get<0>(keys_.sort(1, /*descending=*/true));
    return {sortable(keys.bitwise_right_shift(32).to(at::kInt)).view(at::kFloat), keys.bitwise_and(last_column).neg_().add_(last_column)};
  }
  const auto count = static_cast<int64_t>(rows_.size());
  const at::Tensor scores = at::full({count, k_}, lowest, at::kDouble), columns = at::zeros({count, k_}, at::kLong);
  double* score = scores.mutable_data_ptr<double>();
  int64_t* column = columns.mutable_data_ptr<int64_t>();
  for (Row& row : rows_) {
    cut(row);
    std::sort(row.found.begin(), row.found.end(), IsBetter());
    for (size_t i = 0; i < row.found.size(); ++i) {
      score[i] = row.found[i].score;
      column[i] = row.found[i].column;
    }
    score += k_;
    column += k_;
  }
  return {scores.to(options_), columns.to(options_.device())};
}

}  // namespace syncdr::retrieval
