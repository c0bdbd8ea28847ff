#include "heartbeat.h"

#include <fmt/format.h>

namespace syncdr::comm {
namespace {

using namespace std::chrono_literals;

std::string beats_key(int rank) { return fmt::format("alive/{}", rank); }
std::string activity_key(int rank) { return fmt::format("activity/{}", rank); }

}  // namespace

Heartbeat::Heartbeat(MpiThread& thread, c10::intrusive_ptr<c10d::Store> store, Milliseconds deadline, std::function<void(const std::string&)> fatal)
    : mpi_(thread),
      store_(std::move(store)),
      deadline_(deadline),
      interval_(std::min<Milliseconds>(deadline / 10, 500ms)),
      // Counted from the last answer, which came an interval before: the rank is gone before others may call it so, and the time to end included.
      answer_within_(deadline - interval_ - stand_by(deadline)),
      fatal_(std::move(fatal)),
      peers_(static_cast<size_t>(thread.job().rank == 0 ? thread.job().size : 0)),
      thread_([this] { run(); }) {}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Heartbeat::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval_, [this] { return ending_; })) {
    lock.unlock();
    try {
      beat();
      if (!peers_.empty()) look_at_peers();
    } catch (const std::exception&) {
      fatal_("rank 0 is gone");  // as others say, too
    }
    lock.lock();
  }
}

void Heartbeat::beat() {
  const auto rank = mpi_.job().rank;
  const WatchedCall watched(mpi_, "a sign of life", answer_within_);
  store_->add(beats_key(rank), 1);
  if (const auto activity = mpi_.activity(); activity != posted_) {
    store_->set(activity_key(rank), std::vector<uint8_t>(activity.begin(), activity.end()));
    posted_ = activity;
  }
}

void Heartbeat::look_at_peers() {
  const auto now = Clock::now();
  // A job that was suspended as a whole wakes up rank by rank: nobody is to blame for that time.
  const bool slept = now - std::exchange(looked_, now) > interval_ + deadline_ / 2;
  for (int rank = 1; rank < mpi_.job().size; ++rank) {
    auto& peer = peers_[static_cast<size_t>(rank)];
    const auto beats = store_->add(beats_key(rank), 0);
    if (beats != peer.beats || slept) peer = {.beats = beats, .since = now};
    // A collective that misses the silent rank says more (who waited for what), so it may speak first.
    if (now - peer.since <= (mpi_.in_collective() ? mpi_.patience() + 500ms : deadline_)) continue;
    std::string activity = "starting";
    if (store_->check({activity_key(rank)})) {
      const auto bytes = store_->get(activity_key(rank));
      activity.assign(bytes.begin(), bytes.end());
    }
    fatal_(fmt::format("no sign of life from rank {} ({}) for {} s, last seen at \"{}\": it has stopped, or its host is gone", rank,
                       mpi_.job().hosts[static_cast<size_t>(rank)], std::chrono::duration<double>(deadline_).count(), activity));
  }
}

Watchdog::Watchdog(Milliseconds time, std::function<void()> late)
    : thread_([this, time, late = std::move(late)] {
        std::unique_lock lock(mutex_);
        if (!wake_.wait_for(lock, time, [this] { return done_; })) late();
      }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

}  // namespace syncdr::comm
