#pragma once
#include <cstdint>
#include <vector>

namespace syncdr::evaluation {

/// Average precision of one query without sorting the gallery: only the scores of the right rows are in order, all others are counted between them. The mean
/// over all orders of equal scores.
class AveragePrecision {
 public:
  /// rows: the gallery's of the query's category, ascending; not empty. They must outlive it.
  explicit AveragePrecision(const std::vector<int64_t>& rows) : rows_(&rows) {}

  /// First all scores go through collect(), then all through count(): pieces of `count` rows from row `first` on, ascending in collect().
  void collect(const float* scores, int64_t first, int64_t count);
  void count(const float* scores, int64_t count);
  double value() const;

 private:
  const std::vector<int64_t>* rows_;
  std::vector<float> right_;       // scores of these rows, ascending once all are there
  std::vector<uint32_t> between_;  // how many scores have i right ones below them
  std::vector<uint32_t> equal_;    // and are equal to the next
};

}  // namespace syncdr::evaluation
