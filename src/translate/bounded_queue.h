#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>

/// Between two stages that run in threads of their own. Private to translate.
namespace syncdr::translate {

/// First in, first out, at most `capacity` values. Either side may end it; an error that ends it reaches the other side's next call.
template <class Value> class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  /// Waits for room. False (and the value is dropped) if the queue has ended; throws what it has ended with.
  bool push(Value value) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || values_.size() < capacity_; });
    if (error_) std::rethrow_exception(error_);
    if (ended_) return false;
    values_.push_back(std::move(value));
    changed_.notify_all();
    return true;
  }

  /// Waits until the other side has taken all values, or has ended the queue.
  void wait_until_empty() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || values_.empty(); });
  }

  /// Waits for a value. Nothing if the queue has ended and is empty; throws what it has ended with.
  std::optional<Value> pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || !values_.empty(); });
    if (error_) std::rethrow_exception(error_);
    if (values_.empty()) return std::nullopt;
    std::optional<Value> value(std::move(values_.front()));
    values_.pop_front();
    changed_.notify_all();
    return value;
  }

  /// No more values; those within are still handed out.
  void end() { finish(nullptr, false); }
  /// The same at once, with what is within thrown away.
  void abandon() { finish(nullptr, true); }
  /// The same, and the other side meets this error.
  void fail(std::exception_ptr error) { finish(error, true); }

 private:
  void finish(std::exception_ptr error, bool drop) {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    if (error && !error_) error_ = error;
    if (drop) values_.clear();
    changed_.notify_all();
  }

  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Value> values_;
  bool ended_ = false;
  std::exception_ptr error_;
};

}  // namespace syncdr::translate
