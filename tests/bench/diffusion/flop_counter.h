#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace syncdr::bench {

/// Counts the floating-point operations of the convolutions, linear layers, matrix products and attentions that this thread calls while it lives, from their
/// shapes; a multiplication with its addition is two. Norms, activations and sums are not counted, nor code that is no operator of LibTorch, nor what a CUDA
/// graph replays. One at a time.
class FlopCounter {
 public:
  FlopCounter();
  ~FlopCounter();
  FlopCounter(const FlopCounter&) = delete;
  FlopCounter& operator=(const FlopCounter&) = delete;

  double total() const;
  /// "aten::conv2d" -> operations.
  const std::map<std::string, double>& by_operator() const { return by_operator_; }

 private:
  friend struct FlopObserver;

  uint64_t handle_;
  int depth_ = 0;  ///< of operators that count and are called by each other
  std::map<std::string, double> by_operator_;
};

}  // namespace syncdr::bench
