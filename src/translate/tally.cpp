#include "tally.h"

#include <chrono>
#include <thread>

#include "syncdr/core/stop.h"
#include "together.h"

namespace syncdr::translate {
namespace {

using Clock = std::chrono::steady_clock;
// One batch of a large model on a CPU takes minutes; a rank that is silent for longer is left to the deadline of the next collective.
constexpr auto patience = std::chrono::minutes(10);

}  // namespace

Tally::Tally(comm::World& world, std::string name, std::string title, int64_t total, std::string unit, int64_t done)
    : world_(world), name_(std::move(name)) {
  if (world.is_root()) progress_.emplace(std::move(title), total, std::move(unit), done);
}

void Tally::work_together(const std::function<void()>& work) {
  together(world_, name_.c_str(), [&] {
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
  const auto done = add("/done", value);
  if (progress_) progress_->advance(done - shown_);
  shown_ = done;
  return done;
}

void Tally::add_done(int64_t count) { show(count); }

int64_t Tally::add_quarantined(int64_t count) { return add("/quarantined", count); }

bool Tally::should_stop() {
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
    if (Clock::now() - heard > patience) return;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(200));
  }
}

}  // namespace syncdr::translate
