#include "heartbeat.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>

namespace syncdr::comm {
namespace {

using namespace std::chrono_literals;

std::string beats_key(int rank) { return fmt::format("alive/{}", rank); }
std::string activity_key(int rank) { return fmt::format("activity/{}", rank); }

/// Waits so long; false if asked to stop meanwhile.
bool wait_for(const std::stop_token& stop, Milliseconds time) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any wake;
  wake.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace

Heartbeat::Heartbeat(MpiThread& thread, c10::intrusive_ptr<c10d::Store> store, Milliseconds deadline, std::function<void(const std::string&)> fatal)
    : mpi_(thread), store_(std::move(store)), deadline_(deadline), interval_(std::min<Milliseconds>(deadline / 10, 500ms)),
      // Counted from the last answer, which came an interval before: the rank is gone before others may call it so, and the time to end included.
      answer_within_(deadline - interval_ - stand_by(deadline)), fatal_(std::move(fatal)),
      peers_(static_cast<size_t>(thread.layout().rank == 0 ? thread.layout().size : 0)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

void Heartbeat::run(const std::stop_token& stop) {
  while (wait_for(stop, interval_)) try {
      beat();
      if (!peers_.empty()) look_at_peers();
    } catch (const std::exception&) {
      fatal_("rank 0 is gone");  // as others say, too
    }
}

void Heartbeat::beat() {
  const auto rank = mpi_.layout().rank;
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
  for (int rank = 1; rank < mpi_.layout().size; ++rank) {
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
    fatal_(fmt::format("no sign of life from {} for {} s, last seen at \"{}\": it has stopped, or its host is gone", mpi_.layout().place(rank),
                       std::chrono::duration<double>(deadline_).count(), activity));
  }
}

std::jthread watchdog(Milliseconds time, std::function<void()> late) {
  return std::jthread([time, late = std::move(late)](const std::stop_token& stop) {
    if (wait_for(stop, time)) late();
  });
}

}  // namespace syncdr::comm
