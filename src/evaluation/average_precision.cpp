#include "average_precision.h"

#include <algorithm>

namespace syncdr::evaluation {

void AveragePrecision::collect(const float* scores, int64_t first, int64_t count) {
  for (size_t next = right_.size(); next < rows_->size() && (*rows_)[next] < first + count; ++next) right_.push_back(scores[(*rows_)[next] - first]);
}

void AveragePrecision::count(const float* scores, int64_t count) {
  const size_t size = right_.size();
  if (between_.empty()) {
    std::sort(right_.begin(), right_.end());
    between_.resize(size + 1);
    equal_.resize(size);
  }
  for (int64_t i = 0; i < count; ++i) {
    // A binary search without branches: as many steps for every score, which the processor takes for several scores at once.
    const float* from = right_.data();
    for (size_t length = size; length > 1;) {
      const size_t half = length / 2;
      from += from[half - 1] < scores[i] ? half : 0;
      length -= half;
    }
    const size_t below = static_cast<size_t>(from - right_.data()) + (*from < scores[i] ? 1 : 0);
    ++between_[below];
    if (below < size && right_[below] == scores[i]) ++equal_[below];
  }
}

double AveragePrecision::value() const {
  double sum = 0;
  int64_t before = between_[right_.size()], correct = 0;
  for (size_t end = right_.size(); end > 0;) {
    size_t begin = end - 1;
    while (begin > 0 && right_[begin - 1] == right_[begin]) --begin;
    const auto right = static_cast<int64_t>(end - begin);
    const int64_t tied = equal_[begin];
    // A right one stands in the i-th place of its tie with the same chance as in any other, and the places before it hold their share of the other right ones.
    const double others = tied > 1 ? static_cast<double>(right - 1) / static_cast<double>(tied - 1) : 0;
    for (int64_t i = 0; i < tied; ++i)
      sum += static_cast<double>(right) / static_cast<double>(tied) * (static_cast<double>(correct + 1) + static_cast<double>(i) * others) /
             static_cast<double>(before + i + 1);
    before += between_[begin];
    correct += right;
    end = begin;
  }
  return sum / static_cast<double>(correct);
}

}  // namespace syncdr::evaluation
