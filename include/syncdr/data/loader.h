#pragma once
#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "syncdr/data/augment.h"
#include "syncdr/data/pair_set.h"

namespace syncdr::data {

/// Makes batches ahead of time in worker threads and hands them out in order. `make(step)` must be a pure function of the step, so that what is
/// delivered depends neither on the number of threads nor on their speed. An exception in make(step) is thrown by the next() that asks for it.
template <class Batch>
class Prefetcher {
 public:
  /// Steps first, first + 1, ..., last - 1. threads 0: made in next() itself. depth: how many batches may wait.
  Prefetcher(std::function<Batch(int64_t)> make, int64_t first, int64_t last, int64_t threads, int64_t depth = 4);
  ~Prefetcher();
  bool done() const { return next_out_ >= last_; }
  Batch next();

 private:
  struct Slot {
    std::optional<Batch> batch;
    std::exception_ptr error;
  };
  void work();

  std::function<Batch(int64_t)> make_;
  int64_t next_out_, next_in_, last_, depth_;
  bool stop_ = false;
  std::map<int64_t, Slot> ready_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
};

/// This rank's slice of one domain's part of a global batch.
struct PairBatch {
  at::Tensor images;           ///< [b, 3, S, S] uint8, channels last in memory
  at::Tensor counterparts;     ///< the same of the counterparts; rows without one are zero; undefined without a translation
  at::Tensor has_counterpart;  ///< [b] bool
  at::Tensor ids;              ///< [b] int64: entries, hence rows of the memory bank
};

/// Which entries are in which global batch: a permutation of [0, size) for each epoch, a function of (seed, epoch) alone. The last, incomplete batch
/// of an epoch is dropped, as every loss here compares within a batch.
class BatchOrder {
 public:
  BatchOrder(int64_t size, int64_t batch, uint64_t seed, uint64_t stream);
  int64_t batches_per_epoch() const { return size_ / batch_; }
  /// The entries of positions [first, last) of a global batch, 0 <= first <= last <= batch.
  std::vector<int64_t> entries(int64_t epoch, int64_t batch_index, int64_t first, int64_t last) const;

 private:
  int64_t size_, batch_;
  uint64_t seed_, stream_;
};

/// Loads and augments entries of a pair set. Each image's augmentation is drawn from (seed, key, epoch), whatever batch or rank it falls to.
PairBatch load_pairs(const PairSet& set, const std::vector<int64_t>& entries, const AugmentConfig& config, uint64_t seed, int64_t epoch);

/// Rows [first, last) of a list in evaluation view: [n, 3, S, S] uint8, channels last.
at::Tensor load_evaluation(const ShardList& list, int64_t first, int64_t last, const AugmentConfig& config);

}  // namespace syncdr::data

#include "syncdr/data/prefetcher_impl.h"
