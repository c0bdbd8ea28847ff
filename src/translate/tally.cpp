#include "tally.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "syncdr/core/stop.h"

namespace syncdr::translate {

Tally::Tally(comm::World& world, std::string name, std::string title, int64_t total, std::string unit, int64_t done, double patience)
    : world_(world), name_(std::move(name)), unit_(unit), patience_(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(patience))) {
  if (!world.is_root()) return;
  progress_.emplace(std::move(title), total, std::move(unit), done);
  done_by_.assign(static_cast<size_t>(world.size()), 0);
}

void Tally::work_together(const std::function<void()>& work) {
  world_.together(name_.c_str(), [&] {
    try {
      work();
    } catch (...) {
      add("/stop", 1);
      wait_for_peers();
      throw;
    }
    wait_for_peers();
  });
}

int64_t Tally::add(const char* counter, int64_t value) {
  const auto key = name_ + counter;
  return world_.add(key, value, key.c_str());
}

int64_t Tally::show(int64_t value) {
  const std::lock_guard lock(mutex_);
  const auto done = add("/done", value);
  if (progress_) {
    note_rates();
    progress_->advance(done - shown_, note_);
  }
  shown_ = done;
  return done;
}

/// The slowest and the fastest rank of the last seconds: one that lags behind shows a sick host.
void Tally::note_rates() {
  const auto seconds = std::chrono::duration<double>(Clock::now() - noted_).count();
  if (world_.size() == 1 || seconds < 5) return;
  noted_ = Clock::now();
  std::vector<double> rates;
  for (int rank = 0; rank < world_.size(); ++rank) {
    const auto done = add(fmt::format("/done-by-{}", rank).c_str(), 0);
    rates.push_back(static_cast<double>(done - std::exchange(done_by_[static_cast<size_t>(rank)], done)) / seconds);
  }
  const auto [slow, fast] = std::minmax_element(rates.begin(), rates.end());
  note_ = fmt::format("a rank {:.3g} (rank {}) to {:.3g} {}/s", *slow, slow - rates.begin(), *fast, unit_);
}

void Tally::add_done(int64_t count) {
  if (world_.size() > 1) add(fmt::format("/done-by-{}", world_.rank()).c_str(), count);
  show(count);
}

int64_t Tally::add_quarantined(int64_t count) { return add("/quarantined", count); }

bool Tally::should_stop() {
  const std::lock_guard lock(mutex_);
  const bool first_here = core::stop_requested() && !stopping_;
  if (first_here) stopping_ = true;
  return add("/stop", first_here ? 1 : 0) > 0;
}

void Tally::wait_for_peers() {
  if (add("/ended", 1) == world_.size()) return;
  auto done = show(0);
  auto heard = Clock::now();
  auto pause = std::chrono::milliseconds(1);  // then longer and longer, so that hundreds of idle ranks do not keep rank 0's store busy
  while (add("/ended", 0) < world_.size()) {
    const auto now = show(0);
    if (now != done) heard = Clock::now();
    done = now;
    if (Clock::now() - heard > patience_) return;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(200));
  }
  show(0);
}

}  // namespace syncdr::translate
