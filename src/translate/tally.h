#pragma once
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/core/progress.h"

namespace syncdr::translate {

/// What ranks tell each other while they work through a queue, by counters in the store of rank 0: how far all are, and that all should stop.
/// No barrier while there is work.
class Tally {
 public:
  /// name: unique in the job. total, done: of the whole run, and before this call. patience: seconds that ranks wait for others that are alive but do
  /// not get on. Rank 0 shows the progress of all.
  Tally(comm::World& world, std::string name, std::string title, int64_t total, std::string unit, int64_t done, double patience);

  /// A collective: runs this rank's work and returns when every rank's has ended, without a deadline as long as those that are left get on. If work
  /// throws on a rank, the others' should_stop() becomes true, and all ranks throw the same core::Error in the end.
  void work_together(const std::function<void()>& work);

  /// For work: this rank has done so many more.
  void add_done(int64_t count);
  /// For work: so many more are another job's to do. They count as progress, but not as this rank's.
  void add_elsewhere(int64_t count) { show(count); }
  /// For work: the quarantined images of all ranks, with these.
  int64_t add_quarantined(int64_t count);
  /// A stop signal has come to any rank, or work has thrown on one. Ranks that ask at different moments may get different answers.
  bool should_stop();

 private:
  int64_t add(const char* counter, int64_t value);
  int64_t show(int64_t value);
  void wait_for_peers();
  void note_rates();

  using Clock = std::chrono::steady_clock;
  comm::World& world_;
  std::string name_, unit_;
  Clock::duration patience_;
  std::mutex mutex_;  ///< of what follows: work may use several threads
  int64_t shown_ = 0;
  bool stopping_ = false;
  // On rank 0:
  std::optional<core::Progress> progress_;
  std::vector<int64_t> done_by_;  ///< each rank, when the rates were noted
  Clock::time_point noted_ = Clock::now();
  std::string note_;
};

}  // namespace syncdr::translate
