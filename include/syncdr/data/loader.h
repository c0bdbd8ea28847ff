#pragma once
#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "syncdr/core/error.h"
#include "syncdr/data/augment.h"
#include "syncdr/data/pair_set.h"

namespace syncdr::data {

/// Makes batches ahead of time in worker threads and hands them out in order. `make(step)` must be a pure function of the step, so that
/// what is delivered depends neither on the number of threads nor on their speed. An exception in make(step) is thrown by the next() that
/// asks for it.
template <class Batch> class Prefetcher {
 public:
  /// Steps first, first + 1, ..., last - 1. threads 0: made in next() itself. depth: how many batches may wait.
  Prefetcher(std::function<Batch(int64_t)> make, int64_t first, int64_t last, int64_t threads, int64_t depth = 4)
      : make_(std::move(make)), next_out_(first), next_in_(first), last_(last), depth_(depth) {
    SYNCDR_ASSERT(first <= last && threads >= 0 && depth > 0, "steps {} to {}, {} threads, depth {}", first, last, threads, depth);
    for (int64_t i = 0; i < threads; ++i) threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }
  ~Prefetcher() {
    for (auto& thread : threads_) thread.request_stop();  // all of them, before the first is joined
  }

  bool done() const { return next_out_ >= last_; }
  Batch next() {
    SYNCDR_ASSERT(!done(), "no step after {}", last_ - 1);
    if (threads_.empty()) return make_(next_out_++);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ready_.contains(next_out_); });
    auto batch = std::move(ready_.extract(next_out_++).mapped());
    changed_.notify_all();
    return batch.get();
  }

 private:
  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, stop, [this] { return next_in_ >= last_ || next_in_ < next_out_ + depth_; });
      if (stop.stop_requested() || next_in_ >= last_) return;
      const int64_t step = next_in_++;
      lock.unlock();
      std::packaged_task<Batch()> task([&] { return make_(step); });
      task();
      lock.lock();
      ready_.emplace(step, task.get_future());
      changed_.notify_all();
    }
  }

  std::function<Batch(int64_t)> make_;
  int64_t next_out_, next_in_, last_, depth_;  // next to hand out, next to be made by a worker
  std::map<int64_t, std::future<Batch>> ready_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::jthread> threads_;
};

/// This rank's slice of one domain's part of a global batch.
struct PairBatch {
  at::Tensor images;           ///< [b, 3, S, S] uint8, channels last in memory
  at::Tensor counterparts;     ///< the same of the counterparts; rows without one are zero; undefined without translations
  at::Tensor has_counterpart;  ///< [b] bool
  at::Tensor ids;              ///< [b] int64: entries, hence rows of the memory bank
};

/// Which entries are in which global batch: a permutation of [0, size) for each epoch, a function of (seed, stream, epoch) alone. The last,
/// incomplete batch of an epoch is dropped, as every loss here compares within a batch.
///
/// The permutation is computed, not stored: a Feistel network over the smallest even number of bits that holds size, walked until it lands
/// inside (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). A rank pays for its own slice only, and threads share
/// nothing.
class BatchOrder {
 public:
  /// stream: tells apart the orders of one seed, as of two domains. Throws UsageError unless 0 < batch <= size.
  BatchOrder(int64_t size, int64_t batch, uint64_t seed, uint64_t stream);
  int64_t batches_per_epoch() const { return size_ / batch_; }
  /// The entries of positions [first, last) of a global batch, 0 <= first <= last <= batch.
  std::vector<int64_t> entries(int64_t epoch, int64_t batch_index, int64_t first, int64_t last) const;

 private:
  int64_t entry_at(int64_t epoch, int64_t position) const;

  int64_t size_, batch_;
  uint64_t seed_, stream_;
};

/// Loads and augments entries of a pair set. Each image's augmentation is drawn from (seed, key, epoch), whatever batch or rank it falls
/// to; an image, its counterpart, and the same two in another domain's set get draws of their own. May be called from several threads.
PairBatch load_pairs(const PairSet& set, const std::vector<int64_t>& entries, const AugmentConfig& config, uint64_t seed, int64_t epoch);

/// Rows [first, last) of a list in evaluation view: [n, 3, S, S] uint8, channels last. May be called from several threads.
at::Tensor load_evaluation(const ShardList& list, int64_t first, int64_t last, const AugmentConfig& config);

}  // namespace syncdr::data
